"""How a route gets at the services: set on the application by `create_app`, never a global."""

from typing import Annotated

from fastapi import Depends, Path, Request

from api.services import OpenCollection, Services
from api.settings import ApiSettings


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _settings(request: Request) -> ApiSettings:
    settings: ApiSettings = request.app.state.settings
    return settings


ServicesHere = Annotated[Services, Depends(_services)]
SettingsHere = Annotated[ApiSettings, Depends(_settings)]


def _collection(
    services: ServicesHere,
    collection: Annotated[
        str, Path(description="Name of the collection.", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", examples=["demo"])
    ],
) -> OpenCollection:
    return services.open(collection)


CollectionHere = Annotated[OpenCollection, Depends(_collection)]
"""The collection named in the path, opened; CollectionNotFound when there is none."""
