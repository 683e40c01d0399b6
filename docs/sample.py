"""The sample report of the documentation, from a run: all of its charts, some of its groups and clips.

python docs/sample.py outputs/stage1/latest        # writes docs/report-sample.json, which the site makes a page of
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orjson

from avatar_verl.report.build import PageOptions, page_content
from avatar_verl.report.media_links import MediaLinks
from avatar_verl.report.run_data import RunData, read_run

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "report-sample.json"
OPTIONS = PageOptions(most_completions=600, most_tokens=12_000, embed_bytes=300_000, portable=True)


def sample(run: RunData) -> str:
    """The content of the page as JSON, without the paths of this machine."""
    with tempfile.TemporaryDirectory() as folder:  # copies of clips in a codec that browsers show
        links = MediaLinks(Path(folder) / "page.html", OPTIONS.embed_bytes, OPTIONS.portable)
        for record in run.lines("samples.jsonl"):  # clips of training have the first call on the room there is
            for path in record["media"] if record["split"] == "train" else ():
                if not path.endswith(".wav"):  # sound is large
                    links(path)
        text = orjson.dumps(page_content([run], links, OPTIONS), option=orjson.OPT_NON_STR_KEYS).decode()
    return text.replace(f"{ROOT}/", "").replace(str(run.folder.parents[1]), "outputs")


if __name__ == "__main__":
    OUT.write_text(sample(read_run(Path(sys.argv[1]))) + "\n")
