# API, embedded store and PostgreSQL client, shipped encoder; no torch. Build: docker build -t footnote .
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/footnote \
 && /opt/footnote/bin/pip install --no-cache-dir --constraint constraints.txt '.[pgvector]'

FROM python:3.11-slim
# Programs that loaders use when they are there: --build-arg PACKAGES="tesseract-ocr tesseract-ocr-deu libreoffice-nogui"
ARG PACKAGES=""
RUN if [ -n "$PACKAGES" ]; then apt-get update && apt-get install --yes --no-install-recommends $PACKAGES \
 && rm -rf /var/lib/apt/lists/*; fi
RUN useradd --system --uid 10001 --create-home footnote \
 && install --directory --owner footnote --mode 0750 /data /data/models /data/receipts /data/spool
COPY --from=build /opt/footnote /opt/footnote
ENV PATH=/opt/footnote/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FOOTNOTE_RETRIEVAL__PATH=/data/collections \
    FOOTNOTE_RETRIEVAL__MODELS_PATH=/data/models \
    FOOTNOTE_API__HOST=0.0.0.0
USER footnote
WORKDIR /data
VOLUME /data
EXPOSE 8080
# Loading the encoder takes a few seconds on a slow machine, hence the start period.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["footnote"]
CMD ["serve"]
