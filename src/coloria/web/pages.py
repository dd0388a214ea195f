"""The pages for people: which template, in which language, with which facts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

import coloria
from coloria.classes import names
from coloria.web import texts
from coloria.web.api import desk_of
from coloria.web.assets import Assets
from coloria.web.errors import RefusedError
from coloria.web.offers import about_models

if TYPE_CHECKING:
    from coloria.web.facts import Facts
    from coloria.web.settings import Settings

__all__ = ["HERE", "Pages", "router"]

HERE = Path(__file__).resolve().parent
YEAR_S = 365 * 24 * 3600


class Pages:
    """Renders templates."""

    def __init__(self, settings: Settings, facts: Facts) -> None:
        self.settings, self.facts = settings, facts
        self.assets = Assets(HERE / "static", reload=settings.reload)
        self.models = about_models(facts.offers)
        self.environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=settings.reload,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(
        self, request: Request, name: str, nav: str | None, code: int = 200, **context: Any
    ) -> Response:
        """A page in the language of the visitor."""
        lang = language(request)
        body = self.environment.get_template(f"{name}.html").render(
            t=partial(texts.translate, lang),
            lang=lang,
            languages=texts.LANGUAGES,
            nav=nav,
            path=request.url.path,
            base=str(request.base_url).rstrip("/"),
            static=self.assets.url,
            models=self.models,
            contact=self.settings.contact,
            class_names=names,
            version=coloria.__version__,
            request_id=request.scope.get("request_id", ""),
            **self.facts.shown(),
            **context,
        )
        headers = {
            "Content-Language": lang,
            "Vary": "Accept-Language, Cookie",
            "Cache-Control": "no-store" if context else "private, no-cache",
        }
        response = HTMLResponse(body, code, headers)
        if request.query_params.get("lang") == lang:
            response.set_cookie("lang", lang, max_age=YEAR_S, samesite="lax", httponly=True)
        return response

    def error(self, request: Request, refusal: RefusedError) -> Response:
        """A refusal as a page."""
        error = refusal.problem.model_dump()
        return self.render(
            request, "error", None, refusal.status, status=refusal.status, error=error
        )


def language(request: Request) -> str:
    """What the visitor chose, else what the browser prefers, else the first."""
    known = texts.LANGUAGES
    for choice in (request.query_params.get("lang"), request.cookies.get("lang")):
        if choice in known:
            return choice
    wanted = sorted(_preferences(request.headers.get("accept-language", "")), reverse=True)
    return next((lang for _, lang in wanted if lang in known), known[0])


def _preferences(header: str) -> list[tuple[float, str]]:
    """Weight and language of each part of ``fr-CH, fr;q=0.9, en;q=0.8``."""
    found = []
    for part in header[:500].split(","):
        tag, _, quality = part.partition(";q=")
        try:
            found.append((float(quality or 1), tag.strip().lower()[:2]))
        except ValueError:
            continue
    return found


router = APIRouter(include_in_schema=False)


def _pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


@router.get("/")
def home(request: Request) -> Response:
    """Where pictures are chosen and sent."""
    return _pages(request).render(request, "home", "home")


@router.get("/models")
def models(request: Request) -> Response:
    """All models."""
    return _pages(request).render(request, "models", "models")


@router.get("/models/{name}")
def model(request: Request, name: str) -> Response:
    """How one model works."""
    pages = _pages(request)
    found = next((m for m in pages.models if name in (m["name"], *m["aliases"])), None)
    if found is None:
        raise RefusedError("not_found", f"there is no model {name!r}", hint="see /models")
    if name != found["name"]:
        return RedirectResponse(f"/models/{found['name']}", 308)
    return pages.render(request, "model", "models", model=found)


@router.get("/how-it-works")
def how(request: Request) -> Response:
    """How the site is used, and what happens to pictures."""
    return _pages(request).render(request, "how-it-works", "how")


@router.get("/about")
def about(request: Request) -> Response:
    """Who to ask."""
    return _pages(request).render(request, "about", "about")


@router.get("/api")
def api(request: Request) -> Response:
    """The API, from its OpenAPI document."""
    return _pages(request).render(request, "api", "api", openapi=request.app.openapi())


@router.get("/results/{job}")
def results(request: Request, job: str) -> Response:
    """What became of an upload."""
    desk = desk_of(request)
    view = desk.view(desk.get(job)).model_dump(mode="json")
    words = {"all_models": view["model"] == "all", "titled": partial(_titled, language(request))}
    return _pages(request).render(request, "results", "results", job=view, **words)


def _titled(lang: str, result: dict[str, Any]) -> str:
    """The model of a result, and which of its colourings it is."""
    number = result["sample"]
    which = f", {texts.translate(lang, 'picture.sample', n=number)}" if number else ""
    return f"{result['title']}{which}"


@router.get("/static/{digest}/{name:path}")
def static(request: Request, digest: str, name: str) -> Response:
    """A file of the site itself."""
    return _pages(request).assets.respond(request, digest, name)


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """Where browsers look by themselves."""
    return RedirectResponse(_pages(request).assets.url("favicon.svg"), 307)
