"""The ASGI entry point: pages and the programs' interfaces over HTTP, and the live socket at
`/live/` for pages of our own origin.
"""

from __future__ import annotations

import os
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

import django

django.setup()  # loads the models, which the imports below need

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import WebsocketDenier
from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.urls import path, re_path

from webapp.api.app import PREFIXES, ApiApplication
from webapp.base import leftovers, statement_limit
from webapp.base.asgi_handler import PagesHandler
from webapp.base.asgi_types import App, PathPrefixRouter
from webapp.base.in_flight import InFlightLimit
from webapp.base.own_origin import OwnOriginOnly
from webapp.base.proxies import TrustedProxies
from webapp.live.consumer import live
from webapp.pages.body_limits import body_limit

statement_limit.limit_statements()
# Held while this process lives.
UPLOADS_LOCK = leftovers.remove(settings.UPLOADS)
sockets = [path("live/", cast(Any, live)), re_path("", WebsocketDenier.as_asgi())]
protocols = ProtocolTypeRouter(
    {
        "http": PathPrefixRouter(PREFIXES, ApiApplication(), PagesHandler(body_limit)),
        "websocket": OwnOriginOnly(cast(App, SessionMiddlewareStack(URLRouter(sockets)))),
    }
)
application = TrustedProxies(
    InFlightLimit(cast(App, protocols), settings.STILLROOM_CONNECTIONS),
    settings.STILLROOM_TRUSTED_PROXIES,
    settings.STILLROOM_PROXY_HOPS,
)
