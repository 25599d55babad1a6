"""A function on Fn's unmodified Python FDK."""

import io

from fdk import context, response


def handler(ctx: context.InvokeContext, data: io.BytesIO) -> response.Response:
    """Answer every call the same."""
    return response.Response(
        ctx, response_data=b'{"message": "Hello World"}', headers={"Content-Type": "application/json"}
    )
