"""A phone's camera: an image is drawn by Chromium and read by ZXing, which our own code has no part in."""

import base64

import zxingcpp
from playwright.sync_api import Browser

SIDE = 900

_GREY = """async ([source, side]) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, side, side);
    const {data} = context.getImageData(0, 0, side, side);
    let red = "";
    for (let index = 0; index < data.length; index += 4) red += String.fromCharCode(data[index]);
    return btoa(red);
}"""


def read(browser: Browser, image: bytes, kind: str) -> list[str]:
    """The texts of the QR codes in an image of this media type; in their dots codes of bars may be seen by chance."""
    context = browser.new_context()
    source = f"data:{kind};base64,{base64.b64encode(image).decode()}"
    pixels = base64.b64decode(context.new_page().evaluate(_GREY, [source, SIDE]))
    context.close()
    view = memoryview(pixels).cast("B", (SIDE, SIDE))
    return [found.text for found in zxingcpp.read_barcodes(view, formats=zxingcpp.BarcodeFormat.QRCode)]
