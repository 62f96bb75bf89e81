# A server for a model: docs/serve.md. Build it in the checkout's root:
#   docker build --tag maskrcnn-serve .
#   docker run --rm --publish 127.0.0.1:8000:8000 --volume "$PWD/runs/first:/model:ro" --env MASKRCNN_MODEL=/model maskrcnn-serve
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[tensorflow-cpu,serve,medical,video,openvino]"

FROM python:3.11-slim
# The user's number is said, so that a cluster that forbids root can tell that it is none.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin maskrcnn
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=3 \
    MASKRCNN_HOST=0.0.0.0 \
    MASKRCNN_PORT=8000
USER 10001
WORKDIR /home/maskrcnn
EXPOSE 8000
# /model is the model that is served, read-only; /project holds what people correct.
VOLUME ["/model", "/project"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=90s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['MASKRCNN_PORT']}/v2/health/ready\", timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["maskrcnn", "serve"]
