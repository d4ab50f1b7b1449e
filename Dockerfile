# Continuous integration lints this file and compose.yaml; it does not build them.

# The build stage runs nothing, so it needs no health check.
# hadolint ignore=DL3057
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/saima
ENV PATH=/opt/saima/bin:$PATH

# What Saima stands on changes seldom: its layer is kept while only the source changes.
COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt

COPY pyproject.toml LICENSE ./
COPY racing ./racing
COPY api ./api
# Then the tools that installed it go: the image that runs cannot install anything.
RUN pip install --no-deps --no-build-isolation . \
    && pip uninstall --yes setuptools pip


FROM python:3.11.14-slim-bookworm
ENV PATH=/opt/saima/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/var/lib/saima
RUN install -d -o 10001 -g 10001 /var/lib/saima
COPY --from=build /opt/saima /opt/saima

# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/saima
EXPOSE 8080
# For the api; a container that runs `saima scorer` listens on nothing and turns this off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["saima", "api", "--host", "0.0.0.0"]
