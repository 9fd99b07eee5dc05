"""MkDocs hook: build the site from the Markdown files and images of the whole repository.

Each page keeps its path in the repository, so that relative links between README.md, docs/ and
train_recipes/ are the same on the site as in the repository.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = ("*.md", "docs/**/*.md", "docs/images/*", "docs/upstream/*.py", "train_recipes/**/*.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace what MkDocs found in docs/ by the pages of the repository; keep the theme's files."""
    root = Path(config.config_file_path).parent
    theme = [file for file in files if file.src_dir != config.docs_dir]
    pages = sorted(path for pattern in PAGES for path in root.glob(pattern) if path.is_file())
    return Files(
        [
            *theme,
            *(
                File(
                    path.relative_to(root).as_posix(),
                    src_dir=str(root),
                    dest_dir=config.site_dir,
                    use_directory_urls=config.use_directory_urls,
                )
                for path in pages
            ),
        ]
    )
