"""Real media, small."""

import io


def png() -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.new("RGB", (64, 36), (90, 60, 200)).save(held, "PNG")
    return held.getvalue()


def film() -> bytes:
    import av
    from PIL import Image

    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as film:
        track = film.add_stream("h264", rate=5)
        track.width, track.height, track.pix_fmt = 64, 36, "yuv420p"
        for shade in range(5):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 36), (40 * shade, 60, 200)))
            film.mux(track.encode(frame))
        film.mux(track.encode(None))
    return held.getvalue()
