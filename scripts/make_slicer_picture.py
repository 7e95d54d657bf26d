"""Draw docs/slicer_panel.png: the panel of 3D Slicer's extension MONAILabel with a running server, its buttons marked.

python scripts/make_slicer_picture.py [http://127.0.0.1:8000]      (needs a server by scripts/monai_label.sh with a
                                                                   model that takes clicks, and PySide6-Essentials)

3D Slicer is in no package registry, but its extension comes with MONAI Label. Qt draws the panel from the extension's
own file, in its own style. The script fills in what the server offers, as the extension does.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtUiTools import QUiLoader

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "slicer_panel.png"
EXTENSION = ROOT / ".label-venv" / "monailabel" / "plugins" / "slicer" / "MONAILabel" / "Resources"
WIDTH, TITLE, EDGE = 470, 26, 16  # pixels
ARROW_OPEN, ARROW_CLOSED = "\N{BLACK DOWN-POINTING SMALL TRIANGLE}", "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
ICONS = {
    "fetchServerInfoButton": "refresh-icon.png",
    "segmentationButton": "segment.png",
    "nextSampleButton": "segment.png",
    "saveLabelButton": "save.png",
    "trainingButton": "training.png",
    "stopTrainingButton": "stop.png",
    "uploadImageButton": "upload.svg",
    "importLabelButton": "download.png",
}
STEPS = [
    "serverComboBox",
    "fetchServerInfoButton",
    "strategyBox",
    "nextSampleButton",
    "segmentationButton",
    "dgPositiveControlPointPlacementWidget",
    "seCollapsibleButton",
    "saveLabelButton",
    "trainingButton",
]
PLAIN = {  # shown as an empty frame, or not at all
    "ctkComboBox": QtWidgets.QComboBox,
    "ctkPathLineEdit": QtWidgets.QLineEdit,
    "ctkSliderWidget": QtWidgets.QWidget,
    "qMRMLWidget": QtWidgets.QWidget,
    "qSlicerWidget": QtWidgets.QWidget,
    "qMRMLSegmentEditorWidget": QtWidgets.QWidget,
}
COLLAPSED = ("optionsCollapsibleButton", "seCollapsibleButton", "toolsCollapsibleButton")
HIDDEN = (  # by the extension, for a model that names its labels
    "scribblesCollapsibleButton",
    "dgLabelBackground",
    "dgNegativeControlPointPlacementWidget",
)


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A section with a title; 3D Slicer's own widgets go by the names in the extension's file."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setContentsMargins(0, TITLE + 6, 0, 4)

    def paintEvent(self, _: QtGui.QPaintEvent) -> None:
        """Draw the title and its arrow."""
        painter, bar = QtGui.QPainter(self), QtCore.QRect(0, 0, self.width() - 1, TITLE)
        painter.fillRect(bar, QtGui.QColor("#d8d8d8"))
        painter.setPen(QtGui.QColor("#b0b0b0"))
        painter.drawRect(bar)
        painter.setPen(QtGui.QColor("black"))
        arrow = ARROW_CLOSED if self.maximumHeight() <= TITLE + 2 else ARROW_OPEN
        painter.drawText(bar.adjusted(8, 0, 0, 0), QtCore.Qt.AlignVCenter, f"{arrow}  {self.property('text')}")


class qSlicerMarkupsPlaceWidget(QtWidgets.QPushButton):
    """The button after which clicks into the image set points."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__("place", parent)


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    with urllib.request.urlopen(f"{url}/info/") as answer:
        info = json.load(answer)
    QtWidgets.QApplication([])
    loader = QUiLoader()
    plain = [type(name, (base,), {}) for name, base in PLAIN.items()]
    for kind in (ctkCollapsibleButton, qSlicerMarkupsPlaceWidget, *plain):
        loader.registerCustomWidget(kind)
    panel = loader.load(str(EXTENSION / "UI" / "MONAILabel.ui"))
    fill(panel, url, info)
    panel.setFixedWidth(WIDTH)
    panel.layout().activate()
    panel.resize(WIDTH, panel.sizeHint().height())
    picture = QtGui.QPixmap(panel.width() + 2 * EDGE, panel.height() + 2 * EDGE)
    picture.fill(panel.palette().window().color())
    painter = QtGui.QPainter(picture)
    painter.drawPixmap(EDGE, EDGE, panel.grab())
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    mark(painter, panel, [child(panel, name) for name in STEPS])
    painter.end()
    picture.save(str(TARGET))


def child(panel: Any, name: str) -> Any:
    found = panel.findChild(QtWidgets.QWidget, name)
    if found is None:
        raise SystemExit(f"this version of the extension has no {name}")
    return found


def fill(panel: Any, url: str, info: dict[str, Any]) -> None:
    """Fill in what the server offers, and show the sections that belong to it, as the extension does."""
    models = info["models"]
    choices = {
        "serverComboBox": [url],
        "appComboBox": [info["name"]],
        "strategyBox": list(info["strategies"]),
        "trainerBox": list(info["trainers"]),
        "segmentationModelSelector": [name for name, model in models.items() if model["type"] == "segmentation"],
        "deepgrowModelSelector": [name for name, model in models.items() if model["type"] == "deepedit"],
        "labelComboBox": info["labels"],
    }
    for name, entries in choices.items():
        child(panel, name).addItems(entries)
        child(panel, name).setCurrentIndex(0)
    for name, icon in ICONS.items():
        child(panel, name).setIcon(QtGui.QIcon(str(EXTENSION / "Icons" / icon)))
    child(panel, "dgLabelForeground").setText("Landmarks:")
    for name in ("segmentationButton", "dgUpdateButton"):
        child(panel, name).setEnabled(True)
    for name in HIDDEN:
        child(panel, name).hide()
    for name in COLLAPSED:
        section = child(panel, name)
        for inner in section.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            inner.hide()
        section.setFixedHeight(TITLE + 2)


def mark(painter: QtGui.QPainter, panel: Any, widgets: list[Any]) -> None:
    """Draw a ring around each widget, and their numbers on top."""
    red = QtGui.QColor("#e02020")
    places = [QtCore.QRect(one.mapTo(panel, QtCore.QPoint(EDGE, EDGE)), one.size()) for one in widgets]
    painter.setPen(QtGui.QPen(red, 2))
    for place in places:
        painter.drawRoundedRect(place.adjusted(-3, -3, 3, 3), 5, 5)
    for number, place in enumerate(places, 1):
        badge = QtCore.QRect(place.right() - 8, place.top() - 10, 20, 20)
        painter.setPen(red)
        painter.setBrush(red)
        painter.drawEllipse(badge)
        painter.setPen(QtGui.QColor("white"))
        painter.drawText(badge, QtCore.Qt.AlignCenter, str(number))


if __name__ == "__main__":
    main()
