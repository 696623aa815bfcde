# docker build -t mediagate .
# docker run -p 3264:3264 -v mediagate:/data -e API_KEYS=<a key of your making> mediagate

FROM python:3.13-slim AS build

RUN python -m venv /opt/mediagate
WORKDIR /src
COPY requirements.lock ./
RUN /opt/mediagate/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway ./gateway
RUN /opt/mediagate/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .


FROM python:3.13-slim

# The font is for the sandbox's captions: without it Chinese is drawn as boxes.
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-wqy-microhei \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin mediagate \
    && install -d -o mediagate -g mediagate -m 0700 /data \
    && install -d /etc/mediagate

COPY --from=build /opt/mediagate /opt/mediagate

ENV PATH=/opt/mediagate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=3264 \
    GATEWAY_DATA_DIR=/data

USER mediagate
# A config.yaml here is read.
WORKDIR /etc/mediagate
VOLUME /data
EXPOSE 3264
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]

# It listens beyond loopback here, so it needs API_KEYS (or access.keys in config.yaml) to start.
ENTRYPOINT ["mediagate"]
CMD ["serve"]
