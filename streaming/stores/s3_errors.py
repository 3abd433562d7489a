"""What an S3 store's refusals, failures and silence mean, as the hub's own errors."""

from typing import Any

from streaming.errors import (
    CredentialsError,
    NoSuchObject,
    ObjectChanged,
    ObjectError,
    StoreFaulty,
    StoreRefuses,
    StoreUnavailable,
)

_BUSY = frozenset({429, 503})
_REFUSALS = {
    "NoSuchBucket": "no such bucket",
    "AccessDenied": "access denied",
    "403": "access denied",
}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId": "the store does not know AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID",
    "ExpiredToken": "AWS_SESSION_TOKEN has expired",
    "InvalidToken": "the store does not take AWS_SESSION_TOKEN",
}


def as_store_error(where: str, error: Exception) -> ObjectError:
    """The error that says in one line what an exception of boto3 or urllib3 means.

    Args:
        where: URI of the object or prefix that was asked for.
    """
    from botocore.exceptions import (
        ClientError,
        ConnectionError,
        HTTPClientError,
        ParamValidationError,
        SSLError,
    )
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    if isinstance(error, ClientError):
        return _refusal(where, error)
    text = " ".join(str(error).split())
    if isinstance(error, ReadTimeoutError):
        return StoreUnavailable(f"{where}: the store stopped in mid-answer")
    if isinstance(error, SSLError | ParamValidationError):
        return StoreRefuses(f"{where}: {text}")
    if isinstance(error, ConnectionError | HTTPClientError):
        return StoreUnavailable(f"{where}: the store does not answer: {text}")
    if isinstance(error, HTTPError | ResponseParserError):
        return StoreFaulty(f"{where}: the answer broke off: {text}")
    return StoreRefuses(f"{where}: {text}")


def _refusal(where: str, error: Any) -> ObjectError:
    code = str(error.response["Error"].get("Code", ""))
    status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
    answer = f"HTTP {status}" if code == str(status) else f"HTTP {status} {code}"
    if code in {"NoSuchKey", "404"}:
        return NoSuchObject(f"{where}: no such object")
    if status in {412, 416}:
        return ObjectChanged(f"{where}: changed while it was read")
    if status in _BUSY or code == "SlowDown":
        return StoreUnavailable(f"{where}: the store is busy: {answer}")
    if status >= 500:
        return StoreFaulty(f"{where}: the store failed: {answer}")
    if code in _BAD_CREDENTIALS:
        return CredentialsError(f"{where}: {_BAD_CREDENTIALS[code]}")
    text = " ".join(str(error.response["Error"].get("Message", "")).split())
    return StoreRefuses(f"{where}: {_REFUSALS.get(code, f'{answer}: {text}')}")
