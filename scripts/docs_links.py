"""A hook of mkdocs: links from documents to the rest of the repository, such as ../benches/runs/x, work where
the sources are read. The built pages have no such file beside them: there the path is named instead. A path
that does not exist is a warning, which ends a strict build."""
import logging
import pathlib
import re

log = logging.getLogger("mkdocs.hooks.docs_links")
# [text](../path), which leaves docs/
LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)\)")


def on_page_markdown(markdown, page, config, **_):
    docs = pathlib.Path(config["docs_dir"]).resolve()

    def named(match):
        text, target = match.groups()
        path = (docs / page.file.src_uri).parent.joinpath(target).resolve()
        if path.is_relative_to(docs):
            return match.group()
        if not path.exists():
            log.warning(f"{page.file.src_uri}: {target} does not exist")
        path = str(path.relative_to(docs.parent))
        return f"`{path}`" if text == path else f"{text} (`{path}`)"

    return LINK.sub(named, markdown)
