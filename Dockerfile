# One image for every Ledgerline process: `ledgerline api`, `worker`, `migrate`, and the sandbox rails.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/app/.venv/bin:$PATH LEDGERLINE_HOME=/var/lib/ledgerline
WORKDIR /app

COPY requirements.lock ./
RUN python -m venv .venv \
 && .venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock

# Nobody in the container can change the program, and the program owns only its state.
RUN useradd --system --uid 10001 --home-dir /var/lib/ledgerline --shell /usr/sbin/nologin ledgerline \
 && install -d -o ledgerline -g ledgerline -m 0700 /var/lib/ledgerline /var/lib/ledgerline/secrets /var/lib/ledgerline/rails

COPY deploy/ledgerline .venv/bin/ledgerline
COPY . .
USER ledgerline

EXPOSE 8080
ENTRYPOINT ["ledgerline"]
CMD ["api"]
