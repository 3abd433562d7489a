"""Convert boto3 and urllib3 exceptions to the hub's own S3 errors."""

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

_BUSY_STATUSES = frozenset({429, 503})
_REFUSAL_TEXTS = {
    "NoSuchBucket": "no such bucket",
    "AccessDenied": "access denied",
    "403": "access denied",
}
_BAD_CREDENTIALS = {
    "InvalidAccessKeyId": "the store does not know AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
    "ExpiredToken": "AWS_SESSION_TOKEN has expired",
    "InvalidToken": "the store does not accept AWS_SESSION_TOKEN",
}


def as_store_error(uri: str, error: Exception) -> ObjectError:
    """Convert an exception of boto3 or urllib3 to the hub's error, with a message of one line.

    Args:
        uri: of the requested object or prefix.
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
        return _from_client_error(uri, error)
    text = " ".join(str(error).split())
    if isinstance(error, ReadTimeoutError):
        return StoreUnavailable(f"{uri}: the store stopped in the middle of its response")
    if isinstance(error, SSLError | ParamValidationError):
        return StoreRefuses(f"{uri}: {text}")
    if isinstance(error, ConnectionError | HTTPClientError):
        return StoreUnavailable(f"{uri}: the store does not answer: {text}")
    if isinstance(error, HTTPError | ResponseParserError):
        return StoreFaulty(f"{uri}: the response broke off: {text}")
    return StoreRefuses(f"{uri}: {text}")


def _from_client_error(uri: str, error: Any) -> ObjectError:
    code = str(error.response["Error"].get("Code", ""))
    status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
    response = f"HTTP {status}" if code == str(status) else f"HTTP {status} {code}"
    if code in {"NoSuchKey", "404"}:
        return NoSuchObject(f"{uri}: no such object")
    if status in {412, 416}:
        return ObjectChanged(f"{uri}: changed while it was read")
    if status in _BUSY_STATUSES or code == "SlowDown":
        return StoreUnavailable(f"{uri}: the store is busy: {response}")
    if status >= 500:
        return StoreFaulty(f"{uri}: the store failed: {response}")
    if code in _BAD_CREDENTIALS:
        return CredentialsError(f"{uri}: {_BAD_CREDENTIALS[code]}")
    text = " ".join(str(error.response["Error"].get("Message", "")).split())
    return StoreRefuses(f"{uri}: {_REFUSAL_TEXTS.get(code, f'{response}: {text}')}")
