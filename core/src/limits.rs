//! Every cap of the mesh in one place, with compile-time checks of how they relate.
//!
//! A queue, table, buffer, loop or wait without a cap is a defect; a cap that stands elsewhere is one too.

/// Largest request or response head, start line and all fields, in bytes (R20).
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Longest single line of a head, in bytes (R20).
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Most fields of one head (R20).
pub const FIELDS_MAX: usize = 100;
/// Most tokens over all `Connection` lines of one head (R20).
pub const CONNECTION_TOKENS_MAX: usize = 64;
/// Longest method token, in bytes (R7).
pub const METHOD_BYTES_MAX: usize = 32;
/// Longest chunk extension of one chunk, in bytes (R16).
pub const CHUNK_EXT_BYTES_MAX: usize = 256;
/// Chunk extensions of one body together, in bytes (R16).
pub const CHUNK_EXT_BODY_BYTES_MAX: usize = 4 * 1024;
/// Most trailer fields of one message (R18).
pub const TRAILER_FIELDS_MAX: usize = 16;
/// Largest trailer section, in bytes (R18).
pub const TRAILER_BYTES_MAX: usize = 4 * 1024;
/// Most interim (1xx) responses relayed for one request (R29).
pub const INTERIM_RESPONSES_MAX: usize = 8;
/// Unread request body that is drained rather than the connection closed, in bytes (R23).
pub const DRAIN_BYTES_MAX: usize = 64 * 1024;
/// Longest time spent draining an unread request body, in milliseconds (R23).
pub const DRAIN_MS_MAX: u64 = 1_000;
/// How long the rest of an HTTP/2 request is taken once its answer is complete, before the stream is reset. Short: a stream
/// whose two sides end apart, as of gRPC, holds its place meanwhile.
pub const EARLY_ANSWER_WAIT_MS: u64 = 100;
/// Time for a whole request head to arrive once its first byte has, in milliseconds (R21).
pub const HEAD_DEADLINE_MS: u64 = 10_000;
/// How long a client's `Expect: 100-continue` waits for the upstream's word, in milliseconds (R28).
pub const EXPECT_WAIT_MS: u64 = 1_000;
/// Request body kept for a retry, in bytes; a larger one makes the request not replayable.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// A head buffer's first size, in bytes: most heads fit.
pub const HEAD_BUFFER_BYTES: usize = 4 * 1024;
/// The buffer that a client connection keeps between requests, in bytes: the heads of most programs fit (browsers' do
/// not, and theirs are read into a larger, borrowed one).
pub const IDLE_BUFFER_BYTES: usize = 1024;
/// The buffer that an HTTP/2 connection's next bytes are read into, in bytes: a few requests or short answers fit.
pub const H2_IDLE_BUFFER_BYTES: usize = 2 * 1024;
/// Bytes that an HTTP/2 connection writes at once, and that wait for it at most while it writes.
pub const H2_OUTBOUND_BYTES_MAX: usize = 64 * 1024;
/// CONTINUATION frames of one header block. Five hold the largest head that is allowed in frames of ordinary size.
pub const H2_CONTINUATIONS_MAX: u32 = 8;
/// Time for a header block to end once its first frame has begun, in milliseconds.
pub const H2_HEADER_BLOCK_MS: u64 = 5_000;
/// Streams that a peer may reset in a second, beside one for each that was answered and not set against a reset before.
pub const H2_RESETS_PER_S_MAX: u32 = 100;
/// Answered streams that are kept in mind for that: what a peer in good standing may reset at once.
pub const H2_RESET_CREDIT_MAX: u64 = 1_000;
/// Streams that a peer may reset in a connection's life, beside one for each answered.
pub const H2_RESETS_MAX: u64 = 10_000;
/// Streams that a client may reset before their answer, whatever share of its streams they are.
pub const H2_RESETS_UNANSWERED_MIN: u64 = 50;
/// Stream errors that a peer may cause in a connection's life.
pub const H2_STREAM_ERRORS_MAX: u32 = 100;
/// SETTINGS frames of a second.
pub const H2_SETTINGS_PER_S_MAX: u32 = 50;
/// PING frames of a second, beside one for each DATA frame that was sent and not set against a ping before.
pub const H2_PINGS_PER_S_MAX: u32 = 100;
/// DATA frames sent that are kept in mind for that.
pub const H2_PING_CREDIT_MAX: u64 = 1_000;
/// Empty DATA frames of a second that end no stream.
pub const H2_EMPTY_DATA_PER_S_MAX: u32 = 100;
/// Frames of other kinds of a second.
pub const H2_OTHER_FRAMES_PER_S_MAX: u32 = 100;
/// PRIORITY frames for each stream of a connection's life.
pub const H2_PRIORITY_PER_STREAM_MAX: u64 = 100;
/// WINDOW_UPDATE frames for each two DATA frames sent (Envoy's value).
pub const H2_WINDOW_UPDATES_PER_DATA_MAX: u64 = 10;
/// Tasks that a shard keeps for streams to come.
pub const H2_SPARE_WORKERS_MAX: usize = 256;
/// Streams that a client may have open at once.
pub const H2_STREAMS_MAX: u32 = 100;
/// Requests after which a client's connection is told to go, so that its next one may come to another shard.
pub const H2_REQUESTS_PER_CONNECTION_MAX: u64 = 10_000;
/// What HPACK's table of a client may hold, in bytes.
pub const H2_HEADER_TABLE_BYTES: u32 = 4 * 1024;
/// Time for a new upstream connection's SETTINGS to come where a request depends on them, in milliseconds.
pub const H2_SETTINGS_WAIT_MS: u64 = 1_000;
/// What a client may send ahead on one stream, in bytes.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What a client may send ahead on all streams of a connection, in bytes.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What waits of one stream to be sent, in bytes.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Time without a byte from a client with open streams after which it is pinged, in milliseconds.
pub const H2_PING_AFTER_MS: u64 = 60_000;
/// Time to answer a ping, in milliseconds.
pub const H2_PING_ANSWER_MS: u64 = 20_000;
/// Streams at once on one upstream HTTP/2 connection, whatever the peer allows.
pub const H2_STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
/// HTTP/2 connections of one shard to one endpoint of a destination.
pub const H2_CONNECTIONS_PER_POOL_MAX: usize = 1_024;
/// Requests of one shard that wait for a stream to one endpoint of a destination.
pub const H2_PENDING_PER_POOL_MAX: usize = 16_384;
/// Time after which a peer that has chosen HTTP/1.1 where HTTP/2 was offered is offered it again, in milliseconds.
pub const H2_FALLBACK_MS: u64 = 60_000;
/// Silence with streams open after which a ping asks whether an upstream is still there, in milliseconds.
pub const H2_PING_QUIET_MS: u64 = 10_000;
/// Time for the answer to a ping, in milliseconds.
pub const H2_PING_DEADLINE_MS: u64 = 5_000;
/// Distance of pings without other traffic in between, in milliseconds: what gRPC's servers put up with.
pub const H2_PING_AGAIN_MS: u64 = 300_000;
/// Shortest distance of pings that a rule may ask for, in milliseconds: servers count more as a flood.
pub const H2_PING_INTERVAL_MS_MIN: u64 = 1_000;
/// A body buffer's first size, in bytes.
pub const BODY_BUFFER_BYTES: usize = 16 * 1024;
/// The size that a body buffer grows to once a body proves large, in bytes (measured: 256 KiB costs half of 16 KiB).
pub const BODY_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Spare body buffers that a shard keeps of each size, in bytes together; what is not used goes back to the system.
pub const SPARE_BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Freed blocks of one size that a shard keeps for its next, in bytes together.
pub const HEAP_KEPT_BYTES_MAX: usize = 32 * 1024;
/// Spare request states that a shard keeps.
pub const SPARE_WORK_MAX: usize = 256;
/// Idle time after which a client's keep-alive connection is closed, in milliseconds (Envoy's default: 1 h).
pub const DOWNSTREAM_IDLE_MS: u64 = 3_600_000;
/// Time a peer may leave a write unaccepted, in milliseconds.
pub const WRITE_STALL_MS: u64 = 30_000;
/// Idle time after which a pooled upstream connection is closed unless its destination says otherwise, in milliseconds
/// (Istio's default: 1 h).
pub const UPSTREAM_IDLE_MS: u64 = 3_600_000;
/// How often a shard looks for pooled connections to close, in milliseconds.
pub const POOL_SWEEP_MS: u64 = 5_000;
/// How often the first request in line under a connection cap looks for a place that another shard gave back, in
/// milliseconds.
pub const PENDING_LOOK_MS: u64 = 5;
/// How often a shard with connections to a destination whose connections are capped looks whether requests of another
/// shard wait for them, in milliseconds.
pub const POOL_SHARE_LOOK_MS: u64 = 20;
/// Connections that a shard whose own requests wait keeps for them before it lets one go to another shard's.
pub const POOL_SHARE_TURNS: u32 = 8;
/// Idle upstream connections kept per destination endpoint and shard.
pub const POOL_IDLE_PER_ENDPOINT_MAX: usize = 1_024;
/// Pause after an accept that failed for want of descriptors or memory, in milliseconds.
pub const ACCEPT_BACKOFF_MS: u64 = 50;
/// Downstream connections of one shard; a further one is refused.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 200_000;
/// First look at whether a client that waits for an answer is still there, in milliseconds; later ones at growing
/// distances up to the second.
pub const PEER_LOOK_MS: u64 = 100;
/// Longest distance of such looks, in milliseconds.
pub const PEER_LOOK_MS_MAX: u64 = 2_000;
/// How often a draining shard looks whether its last exchange is over, in milliseconds.
pub const DRAIN_POLL_MS: u64 = 20;
/// Accepted sockets that wait for the shard they were handed to before further ones stay where they came in.
pub const HANDOVERS_MAX: usize = 64;
/// Wait of a connection that was handed over for the table that has its listener, in milliseconds.
pub const HANDOVER_TABLE_MS: u64 = 1_000;
/// Wait for a client's first bytes where only they can say where a connection goes, in milliseconds.
pub const DETECT_WAIT_MS: u64 = 100;
/// How often first bytes that do not tell yet are looked at again, in milliseconds.
pub const DETECT_LOOK_MS: u64 = 2;
/// DNS names outside the index that a shard remembers.
pub const NAMES_MAX: usize = 4_096;
/// Time after which a shard asks for a name again that was not answered, in milliseconds.
pub const NAME_ASK_AGAIN_MS: u64 = 2_000;
/// Longest wait for a route body on first use, in milliseconds.
pub const FETCH_WAIT_MS: u64 = 3_000;
/// Requests and TCP connections of one shard that wait for route bodies at once; a further one is answered 503.
pub const FETCH_WAITERS_MAX: u64 = 1_024;
/// Messages in a mailbox between the steward and a shard.
pub const MAILBOX_MAX: usize = 1_024;
/// Batches of access-log lines that wait for a slow disk or pipe before further ones are dropped and counted.
pub const ACCESS_LOG_BATCHES_MAX: usize = 64;
/// First wait before another try to reach the controller, in milliseconds.
pub const FEED_BACKOFF_MS_MIN: u64 = 50;
/// Longest wait before another try to reach the controller, in milliseconds.
pub const FEED_BACKOFF_MS_MAX: u64 = 5_000;
/// Time without a request after which a sidecar asks for a host's rules and endpoints no longer, in seconds.
pub const UNUSED_S: u64 = 900;
/// Responses of the feed that are applied as one.
pub const FEED_BATCH_MAX: usize = 64;
/// Events that wait for the steward's loop before their senders wait too.
pub const STEWARD_EVENTS_MAX: usize = 256;
/// Connections open at once to one of a proxy's own endpoints (admin, metrics, readiness).
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Longest that a probe of the application waits, in seconds, whatever its `timeoutSeconds`.
pub const PROBE_SECONDS_MAX: u64 = 300;
/// Longest that the application's metrics are waited for, in seconds; Prometheus itself waits 10.
pub const APP_METRICS_SECONDS_MAX: u64 = 8;
/// Most that the application's metrics may be, in bytes.
pub const APP_METRICS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Destinations whose caps and health a proxy's metrics tell.
pub const DESTINATION_METRICS_MAX: usize = 1_000;
/// Names a proxy keeps DNS answers for.
pub const DNS_NAMES_MAX: usize = 4_096;
/// Names a proxy looks up at once for its shards.
pub const DNS_LOOKUPS_MAX: usize = 256;
/// Shortest time that a DNS answer is used, in seconds, whatever its TTL.
pub const DNS_TTL_S_MIN: u64 = 1;
/// Longest time that a DNS answer is used, in seconds, whatever its TTL.
pub const DNS_TTL_S_MAX: u64 = 60;
/// Access-log bytes that make a batch; fewer leave after [`ACCESS_LOG_BATCH_MS`].
pub const ACCESS_LOG_BATCH_BYTES: usize = 32 * 1024;
/// Longest time that a shard keeps an access-log line, in milliseconds.
pub const ACCESS_LOG_BATCH_MS: u64 = 100;
/// Requests a second above which a rate limit's shares are lent to the shards in lots; below, one word serves all.
pub const LEASE_RATE_MIN: u64 = 100_000;
/// Shards that shares are lent to; further ones take each share from the bucket itself.
pub const LEASE_SHARDS_MAX: usize = 16;
/// Smallest lot of shares that is worth lending.
pub const LEASE_CREDITS_MIN: u64 = 8;
/// Largest lot of shares.
pub const LEASE_CREDITS_MAX: u64 = 65_536;
/// Buckets of one keyed rate limit; a full bucket is free to evict.
pub const KEYED_BUCKETS_MAX: usize = 65_536;
/// Tries of one request in all, whatever a rule asks for.
pub const ATTEMPTS_MAX: u32 = 16;
/// Endpoints tried for one TCP connection before it is given up.
pub const TCP_TRIES_MAX: u32 = 3;
/// Endpoints that retries of one request avoid at most.
pub const AVOID_MAX: usize = 8;
/// Turns of one round of a weighted ROUND_ROBIN; larger weights are scaled down to it.
pub const ROUND_ROBIN_SLOTS_MAX: usize = 4_096;
/// Largest single resource on the feed, in bytes.
pub const RESOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest request body of an admin endpoint, in bytes.
pub const ADMIN_BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest configuration file, in bytes.
pub const CONFIG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most configuration files in a folder.
pub const CONFIG_FILES_MAX: usize = 20_000;
/// Directories below each other in a configuration folder.
pub const CONFIG_FOLDER_DEPTH_MAX: usize = 16;
/// A feed response is closed once it holds this many bytes of bodies; a larger body travels alone.
pub const FEED_RESPONSE_BYTES: usize = 1024 * 1024;
/// Responses that a proxy may leave unread before its stream waits; what changes meanwhile is merged.
pub const FEED_RESPONSES_PENDING_MAX: usize = 16;
/// Names that one proxy may subscribe to, over all types.
pub const FEED_NAMES_MAX: usize = 1_000_000;
/// Proxies that one controller serves at once.
pub const FEED_PROXIES_MAX: usize = 10_000;
/// Streams that are brought to their first view at once: what waits to be read by proxies that all connect together is a few
/// of their indexes, whatever their number.
pub const FEED_FIRST_AT_ONCE: usize = 16;
/// Handshakes under way at the feed's TCP address; further connections wait in the listener's queue.
pub const FEED_HANDSHAKES_MAX: usize = 256;
/// Largest compiled program of one regular expression of a rule, in bytes.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 256 * 1024;
/// Memory that one regular expression may use to speed up its matching, per thread, in bytes.
pub const REGEX_CACHE_BYTES_MAX: usize = 256 * 1024;
/// Rules of one virtual host.
pub const RULES_PER_HOST_MAX: usize = 20_000;
/// Alternatives of all rules of one virtual host.
pub const MATCHES_PER_HOST_MAX: usize = 65_536;
/// Destinations of one rule.
pub const DESTINATIONS_PER_RULE_MAX: usize = 256;
/// Endpoints of one destination.
pub const ENDPOINTS_MAX: usize = 50_000;
/// Listeners of one proxy.
pub const LISTENERS_MAX: usize = 4_096;
/// TLS settings of one listener, each for some server names.
pub const SERVER_TLS_MAX: usize = 4_096;
/// Server names of one TLS setting, or of one TLS rule's alternative.
pub const SERVER_NAMES_MAX: usize = 1_024;
/// Identities that one destination's endpoints may have.
pub const IDENTITIES_MAX: usize = 1_024;
/// Parts of a keyed limit's key.
pub const LIMIT_KEY_PARTS_MAX: usize = 8;
/// Limits of one rate-limit object.
pub const LIMITS_PER_OBJECT_MAX: usize = 64;
/// Longest host name, in bytes (RFC 1035 section 2.3.4 allows 255 octets on the wire, 253 as text).
pub const HOST_BYTES_MAX: usize = 253;
/// Longest body of a direct response, in bytes (Envoy's default is 4 KiB; Istio allows 1 MiB).
pub const DIRECT_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest time of a rule (timeout, delay, idle time), in milliseconds: 100 days, far from overflow.
pub const RULE_MS_MAX: u64 = 100 * 24 * 3_600 * 1_000;

/// Series of one kind of metric (HTTP, TCP) that a shard tells apart; the rest are counted together as `other`.
pub const SERIES_MAX: usize = 4_096;
/// Destinations of one shard with latency percentiles of their own (about 10 KiB each).
pub const LATENCY_DESTINATIONS_MAX: usize = 512;
/// Longest value that one operator of an access-log format renders, in bytes.
pub const LOG_VALUE_BYTES_MAX: usize = 8 * 1024;

/// Longest SPIFFE id, in bytes (SPIFFE-ID, section 2.3).
pub const SPIFFE_ID_BYTES_MAX: usize = 2_048;
/// Longest trust domain, in bytes (SPIFFE-ID, section 2.3).
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;
/// Largest PEM file of certificates or a key, in bytes (the bundle of a whole system's roots is about 250 KiB).
pub const PEM_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most certificates of one chain, the leaf among them.
pub const CHAIN_CERTIFICATES_MAX: usize = 16;
/// How far back in time a certificate that is made here begins, for peers whose clock is slow, in seconds (Istio's).
pub const CERTIFICATE_BACKDATE_S: u64 = 120;
/// Life of a workload's certificate unless asked for otherwise, in seconds (Istio's: 24 h).
pub const LEAF_LIFE_S: u64 = 24 * 3_600;
/// Longest life of a workload's certificate, in seconds (Istio's: 90 days).
pub const LEAF_LIFE_S_MAX: u64 = 90 * 24 * 3_600;
/// Life of a root that is made here, in seconds (Istio's: ten years).
pub const ROOT_LIFE_S: u64 = 10 * 365 * 24 * 3_600;
/// First pause after a renewal that failed, in milliseconds.
pub const RENEWAL_BACKOFF_MS_MIN: u64 = 1_000;
/// Longest pause between tries to renew, in milliseconds.
pub const RENEWAL_BACKOFF_MS_MAX: u64 = 60_000;
/// TLS sessions kept for resumption for each set of settings and server name, in number of server names.
pub const TLS_SESSION_NAMES_MAX: usize = 32;
/// Most plaintext sealed and written at once, and received at once, in bytes.
pub const TLS_STEP_BYTES_MAX: usize = 256 * 1024;
/// Decrypted plaintext kept for a reader that only looks, in bytes; what is received beyond waits in the kernel.
pub const TLS_WAITING_BYTES_MAX: usize = 32 * 1024;
/// Largest handshake message that is waited for, in bytes (rustls takes 64 KiB).
pub const TLS_HANDSHAKE_BYTES_MAX: usize = 128 * 1024;
/// Time for a TLS handshake, in milliseconds.
pub const TLS_HANDSHAKE_MS: u64 = 10_000;
/// How long a peer that was refused may take to read why, in milliseconds.
pub const TLS_PARTING_MS_MAX: u64 = 1_000;
/// Longest ClientHello that is waited for, in bytes.
pub const CLIENT_HELLO_BYTES_MAX: usize = 64 * 1024;
/// Longest PROXY protocol header that is taken, in bytes.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;
/// What a peer may tell of its workload before a TCP connection's first byte, in bytes.
pub const PEER_METADATA_BYTES_MAX: usize = 64 * 1024;
/// Time for a PROXY protocol header or a ClientHello to arrive, in milliseconds.
pub const PREFACE_MS_MAX: u64 = 10_000;
/// Peers of mutual TLS that a shard remembers by name.
pub const PEERS_MAX: usize = 1_024;
/// Clients' certificate chains that a TLS server remembers to have verified; at most 256, since a byte finds their places.
pub const TLS_BELIEVED_CHAINS_MAX: usize = 64;
/// Session tickets that a server sends after a full handshake.
pub const TLS_TICKETS: usize = 1;
/// Entries of one list of ports, ranges or interfaces that capture takes: each is a rule that new connections pass in turn.
pub const CAPTURE_ENTRIES_MAX: usize = 256;

const _: () = assert!(TLS_BELIEVED_CHAINS_MAX > 0 && TLS_BELIEVED_CHAINS_MAX <= 256);
const _: () = assert!(FETCH_WAITERS_MAX <= CONNECTIONS_PER_SHARD_MAX as u64);
const _: () = assert!(LEASE_CREDITS_MIN < LEASE_CREDITS_MAX);
const _: () = assert!(LINE_BYTES_MAX <= HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BUFFER_BYTES <= HEAD_BYTES_MAX);
const _: () = assert!(BODY_BUFFER_BYTES <= BODY_BUFFER_BYTES_MAX);
const _: () = assert!(CHUNK_EXT_BYTES_MAX <= CHUNK_EXT_BODY_BYTES_MAX);
const _: () = assert!(TRAILER_BYTES_MAX <= HEAD_BYTES_MAX);
const _: () = assert!(METHOD_BYTES_MAX < LINE_BYTES_MAX);
const _: () = assert!(FEED_RESPONSE_BYTES <= RESOURCE_BYTES_MAX);
const _: () = assert!(TCP_TRIES_MAX <= ATTEMPTS_MAX);
const _: () = assert!(FEED_BACKOFF_MS_MIN < FEED_BACKOFF_MS_MAX);
const _: () = assert!(DNS_TTL_S_MIN < DNS_TTL_S_MAX);
const _: () = assert!(DNS_LOOKUPS_MAX < DNS_NAMES_MAX);
const _: () =
    assert!(TRUST_DOMAIN_BYTES_MAX < SPIFFE_ID_BYTES_MAX && SPIFFE_ID_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(LEAF_LIFE_S <= LEAF_LIFE_S_MAX && LEAF_LIFE_S_MAX < ROOT_LIFE_S);
const _: () = assert!(RENEWAL_BACKOFF_MS_MIN < RENEWAL_BACKOFF_MS_MAX);
const _: () = assert!(H2_STREAM_WINDOW_BYTES <= H2_CONNECTION_WINDOW_BYTES);
