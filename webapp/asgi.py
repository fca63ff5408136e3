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
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.urls import path, re_path

from webapp.api.app import PREFIXES, ApiApplication
from webapp.api.backlog import MOST_BYTES
from webapp.base.asgi_handler import PagesHandler
from webapp.base.proxies import TrustedProxies
from webapp.base.upload_limit import App, LimitedBody, PathPrefixRouter
from webapp.live.consumer import live

sockets = [path("live/", cast(Any, live)), re_path("", WebsocketDenier.as_asgi())]
programs = LimitedBody(ApiApplication(), MOST_BYTES)
protocols = ProtocolTypeRouter(
    {
        "http": PathPrefixRouter(
            PREFIXES, programs, LimitedBody(PagesHandler(), settings.MAX_UPLOAD_BYTES)
        ),
        "websocket": AllowedHostsOriginValidator(SessionMiddlewareStack(URLRouter(sockets))),
    }
)
application = TrustedProxies(
    cast(App, protocols), settings.STILLROOM_TRUSTED_PROXIES, settings.STILLROOM_PROXY_HOPS
)
