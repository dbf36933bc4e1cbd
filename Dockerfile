# The HTTP server of docs/how-to/serve.md: a run of a mounted outputs folder, or one run's own folder.
#
#   docker build -t thaw-serve .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/outputs/runs/DATE/TIME:/model:ro" thaw-serve
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/outputs:/outputs:ro" thaw-serve model=/outputs/runs/DATE/TIME

FROM python:3.11-slim AS packages
COPY requirements-serve.lock /
# Exact versions by their hashes. A venv, so that the second stage has them without pip's leavings.
RUN python -m venv /opt/thaw \
    && /opt/thaw/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements-serve.lock

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home thaw
COPY --from=packages /opt/thaw /opt/thaw
COPY conf /app/conf
COPY scripts/serve.py /app/scripts/
COPY src/thaw /app/src/thaw
ENV PATH=/opt/thaw/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    THAW_OUTPUTS=/outputs
WORKDIR /home/thaw
USER 10001
EXPOSE 8000
# Loading TensorFlow and the network takes a while; then a server that does not answer is marked as unhealthy.
HEALTHCHECK --start-period=120s --interval=30s --timeout=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=8)"]
# The exec form: the server itself gets SIGTERM, and answers what was begun.
ENTRYPOINT ["python", "/app/scripts/serve.py", "host=0.0.0.0", "port=8000"]
CMD ["model=/model"]
