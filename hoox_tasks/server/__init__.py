"""A local D1 API: Cloudflare's REST paths over local SQLite files, for development and tests.

`create_app` makes the WSGI application, `serve` puts it on a port. Clients point their
`CLOUDFLARE_API_BASE_URL` at `http://127.0.0.1:<port>/client/v4`; any account id will do. Made and tried
against wrangler and the official `cloudflare` SDK. It is no production server.
"""

from __future__ import annotations

from hoox_tasks.server.api import DATABASE_ID, Api, create_app
from hoox_tasks.server.listen import base_url, serve

__all__ = ["DATABASE_ID", "Api", "base_url", "create_app", "serve"]
