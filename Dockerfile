# Builds hookbox, and an image that has only hookbox besides the base system.
#
#   docker build -t hookbox .
#   docker run -p 127.0.0.1:8080:8080 -p 127.0.0.1:50051:50051 -v hookbox:/data --stop-timeout 45 \
#     -e HOOKBOX_ADMIN_TOKEN hookbox
#
# Keep the `127.0.0.1:`: without TLS, tokens cross the network readable, and `-p 8080:8080` opens the port to all of it.
#
# Needs BuildKit (the default since Docker 23), because the build uses cache mounts.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts keep downloaded and compiled dependencies for later builds. `touch` makes the sources
# newer than cached build output, so that cargo compiles them again. Cache mounts are not part of the image,
# so the binary is copied out of them: without line tables into `hookbox`, and these alone into `hookbox.debug`.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    find src proto migrations build.rs -type f -exec touch {} + \
    && CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --locked \
    && cd /usr/local/bin \
    && objcopy --only-keep-debug /src/target/release/hookbox hookbox.debug \
    && objcopy --strip-debug --add-gnu-debuglink=hookbox.debug /src/target/release/hookbox hookbox

# The line tables, for debuggers, profilers and backtraces. Only this writes them, to the folder where you are:
#
#   docker build --target debug --output . .
FROM scratch AS debug
COPY --from=build /usr/local/bin/hookbox.debug /

# Debian has the same glibc as the builder, and a shell, so that `docker exec` can inspect the volume. hookbox
# itself needs only libc, libgcc and, for TLS to PostgreSQL or a trace collector, certificates.
FROM debian:bookworm-slim
RUN groupadd --gid 10001 hookbox \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin hookbox \
    && install --directory --owner=hookbox --group=hookbox --mode=0750 /data
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/hookbox /usr/local/bin/hookbox

# It listens for other machines, so it does not start without a token: set HOOKBOX_ADMIN_TOKEN, or mount a hookbox.toml
# with tokens.
ENV HOOKBOX_DATABASE_URL=sqlite:///data/hookbox.db \
    HOOKBOX_HTTP_ADDR=0.0.0.0:8080 \
    HOOKBOX_GRPC_ADDR=0.0.0.0:50051
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 50051
STOPSIGNAL SIGTERM
# Whether the process is alive, not whether it is ready: an orchestrator restarts a container that is unhealthy, and a
# restart does not help when the database is away. Nothing is answered before the database can be reached and the tables
# are up to date, and a long migration must not be ended: 10 minutes. The first success ends the start period.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10m --retries=3 CMD ["hookbox", "health", "--live"]
ENTRYPOINT ["hookbox"]
CMD ["serve"]
