"""The body of a comparison: a form with two pictures, read in memory."""

from collections.abc import AsyncGenerator

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from web.problems.problem import Problem

NAMES = ("first", "second")


class _InMemory(MultiPartParser):
    """Writes nothing to the disk: the body, whose size is limited, is in memory anyway."""

    spool_max_size = 0  # the limit after which a part would go to the disk; 0: none


async def parse(content_type: str, body: bytes) -> tuple[bytes, bytes]:
    """The pictures of a body.

    Args:
        content_type: header of the request.
        body: multipart/form-data with the files `first` and `second`.

    Raises:
        Problem: 415, it is no such form; 422, a picture is missing.
    """
    if not content_type.lower().startswith("multipart/form-data"):
        raise Problem(
            415, "send multipart/form-data with the two files `first` and `second`", "unsupported_media_type"
        )

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(Headers({"content-type": content_type}), chunks(), max_files=2, max_fields=0)
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError, ValueError) as error:
        cause = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise Problem(422, f"the form cannot be read: {cause}", "bad_form") from None
    pictures = []
    for name in NAMES:
        part = form.get(name)
        if not isinstance(part, UploadFile):
            raise Problem(
                422, f"the form has no file `{name}`: send two pictures, `first` and `second`", "bad_form"
            )
        pictures.append(part.file.read())
    return pictures[0], pictures[1]
