"""The style of a class map for QGIS: a file of the same name that it reads with the map."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.measure.palette import class_colours, hexadecimal
from fpcn_lightning.field.mapping.measure.tables import NO_DATA_NAME


def qgis_style(classes: Sequence[str]) -> str:
    """The XML that names the codes of a map after their classes, with the colours of the map."""
    colours = class_colours(len(classes))
    root = Element("qgis", version="3.0", styleCategories="Symbology")
    renderer = SubElement(SubElement(root, "pipe"), "rasterrenderer", type="paletted", band="1", opacity="1")
    palette = SubElement(renderer, "colorPalette")
    for code, name in [*enumerate(classes), (NO_DATA, NO_DATA_NAME)]:
        alpha = "0" if code == NO_DATA else "255"
        SubElement(palette, "paletteEntry", value=str(code), color=hexadecimal(colours[code]), label=name, alpha=alpha)
    indent(root)
    return "<!DOCTYPE qgis>\n" + tostring(root, encoding="unicode") + "\n"
