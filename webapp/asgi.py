"""The ASGI entry point: pages over HTTP, and the live socket at `/live/` for pages of our own origin."""

from __future__ import annotations

import os
from typing import cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

from django.core.asgi import get_asgi_application

pages = get_asgi_application()  # loads the models, which the imports below need

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from channels.sessions import SessionMiddlewareStack
from django.conf import settings
from django.urls import path, re_path

from webapp.live.consumer import LiveConsumer
from webapp.uploads import App, LimitedBody

sockets = [path("live/", LiveConsumer.as_asgi()), re_path("", WebsocketDenier.as_asgi())]
application = ProtocolTypeRouter(
    {
        "http": LimitedBody(cast(App, pages), settings.MAX_UPLOAD_BYTES),
        "websocket": AllowedHostsOriginValidator(SessionMiddlewareStack(URLRouter(sockets))),
    }
)
