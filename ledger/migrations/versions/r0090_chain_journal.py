"""The journal of a chain's orders: which nonce each has, and every transaction that was signed for it.

Only ever added to, but for what became of an order. The rail's adapter writes it ahead of every broadcast.
"""

from ledger.migrations.rewriting import run

revision = "0090"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE chain_wallets (
    chain text NOT NULL,
    address text NOT NULL,
    next_nonce bigint NOT NULL CHECK (next_nonce >= 0),
    PRIMARY KEY (chain, address)
) WITH (fillfactor = 50);

-- `closed`: promised never to happen, so it has no nonce. One nonce is one order's for ever.
CREATE TABLE chain_orders (
    rail_key text PRIMARY KEY,
    chain text NOT NULL,
    wallet text NOT NULL,
    nonce bigint,
    destination text,
    amount_minor bigint CHECK (amount_minor > 0),
    gas bigint,
    status text NOT NULL CHECK (status IN ('open', 'confirmed', 'reverted', 'closed')),
    mined_hash text,
    mined_block bigint,
    reorganizations integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    UNIQUE (chain, wallet, nonce),
    CHECK (num_nonnulls(nonce, destination, amount_minor, gas) = CASE status WHEN 'closed' THEN 0 ELSE 4 END)
);
CREATE INDEX chain_orders_open ON chain_orders (chain, wallet, nonce) WHERE status = 'open';
CREATE INDEX chain_orders_mined ON chain_orders (chain, wallet, mined_block) WHERE status = 'confirmed';

CREATE TABLE chain_sends (
    hash text PRIMARY KEY,
    rail_key text NOT NULL,
    number integer NOT NULL,
    raw bytea NOT NULL,
    max_fee_wei numeric NOT NULL,
    priority_fee_wei numeric NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (rail_key, number)
);
"""


def upgrade() -> None:
    """Add the tables; no HTTP role sees them."""
    run(TABLES)
    run("GRANT SELECT, INSERT ON chain_wallets, chain_orders, chain_sends TO ledgerline_app")
    run("GRANT UPDATE (next_nonce) ON chain_wallets TO ledgerline_app")
    run("GRANT UPDATE (status, mined_hash, mined_block, reorganizations, ended_at) ON chain_orders TO ledgerline_app")


def downgrade() -> None:
    """Refuse: what was signed is never forgotten."""
    raise NotImplementedError("the journal is append-only")
