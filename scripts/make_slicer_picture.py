"""Draw docs/slicer_panel.png: the panel of 3D Slicer's extension MONAILabel on our server, with what to press.

python scripts/make_slicer_picture.py      (needs Chromium)

A drawing, not a screenshot: 3D Slicer comes by no package registry. Captions and their order are the extension's
(of MONAI Label 0.8), the values those of a server that was just started, with the classes liver and spleen.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

TARGET = Path(__file__).resolve().parents[1] / "docs" / "slicer_panel.png"
WIDTH, SCALE, COLORS = 470, 1.5, 64

STYLE = """
body { margin: 0; padding: 14px 26px 14px 14px; background: #efefef; font: 13px sans-serif; color: #202020; }
.row { display: flex; align-items: center; gap: 6px; margin: 5px 0; }
.row > .grow { flex: 1; }
.caption { min-width: 132px; }
.narrow { min-width: 92px; }
.field, .button, .bar { box-sizing: border-box; height: 25px; line-height: 23px; padding: 0 8px; }
.field, .button, .bar { border: 1px solid #b4b4b4; }
.field { background: white; border-radius: 2px; }
.list::after { content: "\\25be"; float: right; color: #606060; }
.button { background: linear-gradient(#fdfdfd, #e4e4e4); border-radius: 3px; text-align: center; position: relative; }
.bar { background: linear-gradient(90deg, #8ab4e8 var(--share), white 0); border-radius: 2px; text-align: center; }
h2 { font: bold 13px sans-serif; background: #dcdcdc; border: 1px solid #c0c0c0; margin: 10px 0 6px; padding: 4px 8px; }
h2::before { content: "\\25be\\00a0"; } h2.closed::before { content: "\\25b8\\00a0"; } h2.closed { margin-bottom: 0; }
.press { outline: 2px solid #e02020; outline-offset: 2px; border-radius: 4px; position: relative; }
.press b { position: absolute; top: -12px; right: -14px; width: 20px; height: 20px; border-radius: 10px;
  background: #e02020; color: white; font: bold 12px/20px sans-serif; text-align: center; z-index: 1; }
.green { color: #1f9d3a; font-size: 16px; } .box { margin-left: 6px; white-space: nowrap; }
"""


def press(number: int, kind: str, text: str, more: str = "") -> str:
    return f'<div class="{kind} press {more}">{text}<b>{number}</b></div>'


PANEL = f"""<style>{STYLE}</style>
<div class="row"><div class="caption">MONAI Label server:</div>{press(1, "field", "http://127.0.0.1:8000", "grow list")}
  {press(2, "button", '<span class="green">&#8635;</span>')}</div>
<div class="row"><div class="caption">App Name:</div><div class="field grow list">monai-vggunet</div></div>
<div class="row"><div class="caption">Master Volume:</div><div class="field grow list">study_03</div>
  <div class="button">&#8679;</div></div>
<h2 class="closed">Options</h2>
<h2>Active Learning</h2>
<div class="bar" style="--share:0%">0%</div>
<div class="row">Strategy:</div>
{press(3, "field", "uncertainty", "list")}
<div class="row" style="margin-top:10px; gap:22px">{press(4, "button", "Next Sample", "grow")}
  {press(8, "button", "Submit Label", "grow")}</div>
<div class="row" style="margin-top:10px"><div class="caption narrow">Model:</div>
  <div class="field grow list">vggunet</div>
  {press(9, "button", "Train")}<div style="width:10px"></div><div class="button">Stop</div></div>
<div class="row"><div class="caption narrow">Status:</div><div class="bar grow" style="--share:0%">0%</div></div>
<div class="row"><div class="caption narrow">Accuracy:</div><div class="bar grow" style="--share:0%">0%</div></div>
<h2 class="closed press">Segment Editor<b>7</b></h2>
<h2>Auto Segmentation</h2>
<div class="row"><div class="caption narrow">Model:</div><div class="field grow list">vggunet</div>
  {press(5, "button", "&nbsp;Run&nbsp;")}</div>
<h2>SmartEdit / Deepgrow</h2>
<div class="row"><div class="grow">
  <div class="row"><div class="caption narrow">Model:</div><div class="field grow list">vggunet_clicks</div></div>
  <div class="row"><div class="caption narrow">Label:</div><div class="field grow list">spleen</div>
    <div class="box">&#9744; Freeze</div></div>
  <div class="row"><div class="caption narrow">Landmarks:</div>{press(6, "button", "&#10010; place points")}</div>
</div><div style="width:14px"></div><div>
  <div class="button" style="height:55px; line-height:53px">Update</div>
  <div class="box" style="padding:9px 0">&#9745; Auto</div>
</div></div>
<h2 class="closed">Tools</h2>
"""


def main() -> None:
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 200}, device_scale_factor=SCALE)
        page.set_content(PANEL)
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        browser.close()
    shot.quantize(COLORS).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
