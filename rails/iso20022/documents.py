"""ISO 20022 documents: bytes that keep to their schema on the way out, and are held to it on the way in.

Decides what is a document at all. What one means is `reports.py`'s.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from lxml import etree
from lxml.builder import ElementMaker

from domain.money import exponent
from rails.configuration import RailConfiguration

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
SCHEMAS = Path(__file__).parent / "schemas"
BYTES_MAX = 16 * 1024 * 1024

Element = Any
"""An lxml element; the library comes without types."""


class InvalidDocumentError(ValueError):
    """What was sent is no document of the expected kind, or breaks its schema: it says nothing."""


class Schemas:
    """The schemas documents are held to: those of this package, or a folder's own where it has the same name."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises ValueError (not retryable) when the folder is not there."""
        if folder is not None and not folder.is_dir():
            raise ValueError(f"there is no folder of schemas at {folder}")
        self._folder = folder

    def check(self, document: Element, message: str) -> None:
        """Let a document pass that keeps to the schema of its message, such as pain.001.001.09.

        Raises:
            InvalidDocumentError: it does not. Not retryable.
        """
        own = None if self._folder is None else self._folder / f"{message}.xsd"
        schema = _load(own if own is not None and own.is_file() else SCHEMAS / f"{message}.xsd")
        if not schema.validate(document):
            raise InvalidDocumentError(f"{message}: {schema.error_log.last_error}")

    def render(self, document: Element, message: str) -> bytes:
        """Return a document as it goes out.

        Raises:
            InvalidDocumentError: it breaks its schema, so the bank would refuse it. Not retryable.
        """
        self.check(document, message)
        rendered: bytes = etree.tostring(document, xml_declaration=True, encoding="UTF-8")
        return rendered

    def read(self, body: bytes, accepted: frozenset[str]) -> tuple[str, Element]:
        """Return the message's name and its root element.

        Raises:
            InvalidDocumentError: not XML, another message, or against its schema. Not retryable.
        """
        if len(body) > BYTES_MAX:
            raise InvalidDocumentError(f"a document of more than {BYTES_MAX} bytes")
        try:
            root = etree.fromstring(body, _safe_parser())
        except (etree.XMLSyntaxError, ValueError) as error:
            raise InvalidDocumentError(f"not XML: {error}") from error
        if root.getroottree().docinfo.doctype:
            raise InvalidDocumentError("a document with a DOCTYPE is refused: bank messages have none")
        message = (etree.QName(root).namespace or "").removeprefix(NAMESPACE)
        if message not in accepted:
            raise InvalidDocumentError(f"a {message or 'document without a namespace'} was not expected")
        self.check(root, message)
        return message, root


def schemas_of(configuration: RailConfiguration) -> Schemas:
    """Return the shipped schemas, with those of the folder `schemas` before them where a line names one.

    Raises:
        ValueError: the folder is not there. Not retryable.
    """
    folder = configuration.get("schemas")
    return Schemas(Path(folder).expanduser() if folder else None)


def maker(message: str) -> Any:
    """Return what makes elements of a message: `maker("pain.001.001.09").MsgId("…")`."""
    namespace = NAMESPACE + message
    return ElementMaker(namespace=namespace, nsmap={None: namespace})


def child(element: Element, path: str) -> Element | None:
    """Return the first element at a path such as GrpHdr/MsgId, whatever the message's version."""
    return element.find(_wild(path))


def children(element: Element, path: str) -> list[Element]:
    """Return every element at a path."""
    found: list[Element] = element.findall(_wild(path))
    return found


def text(element: Element, path: str) -> str | None:
    """Return the text at a path, None where there is none."""
    found = element.findtext(_wild(path))
    return found.strip() or None if found is not None else None


def amount_text(amount_minor: int, currency: str) -> str:
    """Return an amount as messages write it: 8420 minor units of EUR are 84.20, of JPY 8420."""
    places = exponent(currency)
    digits = str(amount_minor).rjust(places + 1, "0")
    return digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"


def amount_of(element: Element) -> tuple[int, str]:
    """Return the minor units and the currency of an amount element: 84.2 EUR are 8420.

    Raises:
        InvalidDocumentError: finer than the currency, or an unknown currency. Not retryable.
    """
    currency, written = element.get("Ccy", ""), (element.text or "").strip()
    whole, _, fraction = written.partition(".")
    try:
        places = exponent(currency)
    except (KeyError, ValueError) as error:
        raise InvalidDocumentError(f"an amount in {currency or 'no currency'}") from error
    fraction = fraction.rstrip("0")
    if len(fraction) > places or not (whole + fraction).isdigit():
        raise InvalidDocumentError(f"{written} {currency} is no amount")
    return int(whole or "0") * 10**places + int(fraction.ljust(places, "0") or "0"), currency


def _wild(path: str) -> str:
    return "/".join(f"{{*}}{tag}" for tag in path.split("/"))


@lru_cache(maxsize=32)
def _load(path: Path) -> Any:
    return etree.XMLSchema(etree.parse(str(path), _safe_parser()))


def _safe_parser() -> Any:
    """Nothing is fetched, expanded or grown: what comes in is from outside."""
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
