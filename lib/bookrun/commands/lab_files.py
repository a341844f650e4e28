"""Chapters as ``make lab`` reads them; imported by its server alone."""

from typing import Any

from jupytext import AsyncTextFileContentsManager


class Files(AsyncTextFileContentsManager):  # type: ignore[misc, valid-type, unused-ignore]
    """Jupytext's files, where a byte order mark is no part of the text."""

    async def _read_file(self, os_path: str, format: str | None, raw: bool = False) -> Any:
        content, *rest = await super()._read_file(os_path, format, raw=raw)
        return (content.removeprefix("\ufeff") if isinstance(content, str) else content, *rest)
