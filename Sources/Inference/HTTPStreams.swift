import CCurl
import CLibuv
import Primitives
import UVLoop

/// Identifies one transfer. Numbers are never reused, so a stale id is harmless.
struct TransferID: Hashable, Sendable {
    let rawValue: UInt64
}

/// One GET or POST.
struct HTTPRequest: Sendable {
    var url: String
    /// Sent with POST; nil means GET.
    var body: [UInt8]?
    /// Whole header lines such as `Accept: text/event-stream`.
    var headers: [String] = []
    /// A file of certificates that sign the server's, instead of the system's.
    var certificates: String?
    /// A server on this machine answers in microseconds, one across the world in 0.3 s.
    var connectTimeout = Interval.seconds(5)
    /// For the whole transfer; nil for streams, whose owner watches the time between tokens.
    var timeout: Interval?

    init(url: String, body: [UInt8]? = nil, headers: [String] = [], timeout: Interval? = nil) {
        self.url = url
        self.body = body
        self.headers = headers
        self.timeout = timeout
    }
}

/// How a transfer ended.
enum TransferEnd: Sendable, Hashable {
    /// The whole answer arrived; its status may still be an error, with its Retry-After (zero: none).
    case complete(status: Int, retryAfter: Interval)
    /// No connection, or no such host.
    case unreachable(String)
    /// Its certificate is signed by nobody known, or the file of certificates can't be read.
    case untrusted(String)
    /// The connection broke before the answer was complete.
    case brokenOff(String)
    case timedOut(String)
    case failed(String)
}

/// Receives the events of a transfer. It may post, cancel, pause and close from inside these calls.
protocol TransferSink: AnyObject {
    /// Bytes of the body, including the body of an error status.
    func received(_ id: TransferID, status: Int, _ bytes: UnsafeRawBufferPointer)
    /// The last call for `id`. Not made after `cancel`.
    func ended(_ id: TransferID, _ end: TransferEnd)
}

/// HTTP/1.1 client transfers on a libuv loop, through libcurl's multi interface
/// (https://curl.se/libcurl/c/libcurl-multi.html, "multi_socket").
///
/// One rule: *curl's callbacks collect, `drain` delivers.* libcurl forbids almost every call from inside its
/// callbacks, so they only append to a transfer's buffer. When curl is off the stack the sinks are called,
/// and may do what they like. libcurl is initialised with the first transfer: it costs 9 MB of shared pages.
///
/// Not Sendable: made and used on the loop's thread only. Call `close` before dropping it.
public final class HTTPStreams {
    /// Bytes that curl reads at once. It reads at most a hundred times in one turn of the loop, which bounds
    /// a transfer's buffer to 400 kB.
    static let readSize = 4_096
    /// Idle connections kept for later requests.
    static let idleConnectionsMax = 16
    /// A server that sends again within this time is left alone for as long (up to 2 ms, as libuv counts), so that
    /// what it sends token by token is read together: each read costs both nodes and the client 50 µs in all.
    static let restTime = Interval.milliseconds(1)

    private final class Transfer {
        let id: TransferID
        let easy: UnsafeMutableRawPointer
        weak var owner: HTTPStreams?
        var sink: (any TransferSink)?
        var headers: UnsafeMutablePointer<curl_slist>?
        var bytes: [UInt8] = []
        /// The request's body, and how much of it curl has taken.
        var body: [UInt8] = []
        var sent = 0
        var status = 0
        var isQueued = false
        var isChunked = false
        /// The server says what it is, and that is nothing known to close a connection without a word.
        var isOfNamedServer = false

        init(id: TransferID, easy: UnsafeMutableRawPointer, owner: HTTPStreams, sink: any TransferSink) {
            self.id = id
            self.easy = easy
            self.owner = owner
            self.sink = sink
        }

        func readStatus() { _ = easy_get_status(easy, &status) }

        deinit {
            curl_easy_cleanup(easy)
            curl_slist_free_all(headers)
        }
    }

    /// A socket that curl wants watched, and for what.
    private struct Watch {
        let poll: UnsafeMutablePointer<uv_poll_t>
        var events: UInt32 = 0
        /// When part of an answer was read last.
        var readAt = MonotonicTime.zero
    }

    private let loop: UnsafeMutablePointer<uv_loop_t>
    private var multi: UnsafeMutableRawPointer?
    private var timer: UnsafeMutablePointer<uv_timer_t>?
    private var transfers: [TransferID: Transfer] = [:]
    private var restTimer: UnsafeMutablePointer<uv_timer_t>?
    private var watches: [curl_socket_t: Watch] = [:]
    private var resting: [curl_socket_t] = []
    private var ready: [Transfer] = []
    private var nextID: UInt64 = 1
    private var isDraining = false
    private var isInTimer = false
    private(set) var isClosed = false
    var whenClosed: (() -> Void)?

    public init(loop: UnsafeMutablePointer<uv_loop_t>) { self.loop = loop }

    deinit { precondition(multi == nil, "HTTPStreams was dropped without close()") }

    // MARK: For owners

    /// Starts a transfer; `sink` is retained until it ends. After `close` nothing is sent and `sink` is never
    /// called.
    @discardableResult
    func post(_ request: HTTPRequest, to sink: any TransferSink) -> TransferID {
        let id = TransferID(rawValue: nextID)
        nextID += 1
        guard !isClosed, let multi = startedMulti(), let easy = curl_easy_init() else { return id }
        let transfer = Transfer(id: id, easy: easy, owner: self, sink: sink)
        configure(transfer, request)
        transfers[id] = transfer
        curl_multi_add_handle(multi, easy)
        return id
    }

    /// Ends a transfer at once, and closes its connection unless the answer is complete. The sink gets no
    /// further call.
    func cancel(_ id: TransferID) {
        guard let transfer = transfers.removeValue(forKey: id) else { return }
        transfer.sink = nil
        curl_multi_remove_handle(multi, transfer.easy)
    }

    /// Stops reading from the connection, which applies back-pressure to the server. What this turn has
    /// already read is still delivered.
    func pause(_ id: TransferID) {
        guard let transfer = transfers[id] else { return }
        curl_easy_pause(transfer.easy, CURLPAUSE_RECV)
    }

    /// Ends `pause`: reads from the connection again.
    func resume(_ id: TransferID) {
        guard let transfer = transfers[id] else { return }
        // curl delivers what it held back inside this call, outside a turn: the timer drains it.
        curl_easy_pause(transfer.easy, CURLPAUSE_CONT)
        setTimer(0)
    }

    /// Cancels everything and closes all handles on the loop.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        for id in Array(transfers.keys) { cancel(id) }
        ready = []
        if let multi { curl_multi_cleanup(multi) }
        multi = nil
        for (_, watch) in watches { Self.dispose(watch.poll) }
        watches = [:]
        resting = []
        for timer in [timer, restTimer] { if let timer { Self.dispose(timer) } }
        timer = nil
        restTimer = nil
        whenClosed?()
        whenClosed = nil
    }

    // MARK: Setting up

    private func startedMulti() -> UnsafeMutableRawPointer? {
        if let multi { return multi }
        _ = Self.globalInit
        guard let multi = curl_multi_init() else { return nil }
        self.multi = multi
        let context = Unmanaged.passUnretained(self).toOpaque()
        _ = multi_set_socket(
            multi, { _, socket, what, context, _ in HTTPStreams.at(context).watch(socket, what) }, context)
        _ = multi_set_timer(
            multi, { _, milliseconds, context in HTTPStreams.at(context).setTimer(milliseconds) }, context)
        _ = multi_set_long(multi, CURLMOPT_MAXCONNECTS, Self.idleConnectionsMax)
        timer = madeTimer(context)
        restTimer = madeTimer(context)
        return multi
    }

    private func madeTimer(_ context: UnsafeMutableRawPointer) -> UnsafeMutablePointer<uv_timer_t> {
        let timer = UnsafeMutablePointer<uv_timer_t>.allocate(capacity: 1)
        uv_timer_init(loop, timer)
        timer.pointee.data = context
        return timer
    }

    /// Flag 0 leaves the initialisation of OpenSSL to the first https transfer.
    private static let globalInit: Bool = curl_global_init(0) == CURLE_OK

    private static func at(_ context: UnsafeMutableRawPointer?) -> HTTPStreams {
        guard let context else { preconditionFailure("libcurl lost its context") }
        return Unmanaged<HTTPStreams>.fromOpaque(context).takeUnretainedValue()
    }

    private func configure(_ transfer: Transfer, _ request: HTTPRequest) {
        let easy = transfer.easy
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        _ = easy_set_string(easy, CURLOPT_URL, request.url)
        _ = easy_set_pointer(easy, CURLOPT_PRIVATE, context)
        _ = easy_set_write(
            easy,
            { bytes, size, count, context in
                guard let context, let bytes else { return 0 }
                let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                return HTTPStreams.collect(
                    transfer, UnsafeRawBufferPointer(start: bytes, count: size * count))
            }, context)
        // Over plain HTTP, where a new connection costs next to nothing.
        if !request.url.hasPrefix("https:") {
            _ = easy_set_header(
                easy,
                { line, size, count, context in
                    guard let context, let line else { return 0 }
                    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                    HTTPStreams.note(transfer, UnsafeRawBufferPointer(start: line, count: size * count))
                    return size * count
                }, context)
        }
        _ = easy_set_long(easy, CURLOPT_NOSIGNAL, 1)
        _ = easy_set_long(easy, CURLOPT_BUFFERSIZE, Self.readSize)
        _ = easy_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        _ = easy_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, Int(max(1, request.connectTimeout.milliseconds)))
        _ = easy_set_long(easy, CURLOPT_TCP_NODELAY, 1)
        // An empty proxy: http_proxy in the environment must not divert loopback.
        _ = easy_set_string(easy, CURLOPT_PROXY, "")
        _ = easy_set_string(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        if let file = request.certificates { _ = easy_set_string(easy, CURLOPT_CAINFO, file) }
        if let timeout = request.timeout {
            _ = easy_set_long(easy, CURLOPT_TIMEOUT_MS, Int(max(1, timeout.milliseconds)))
        }
        // No "Expect": large prompts would wait a second for 100-continue.
        var headers = request.headers + ["Expect:"]
        if let body = request.body {
            transfer.body = body
            _ = easy_set_upload(
                easy,
                { room, size, count, context in
                    guard let context, let room else { return 0 }
                    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
                    return HTTPStreams.hand(
                        transfer, UnsafeMutableRawBufferPointer(start: room, count: size * count))
                }, context, body.count)
            headers.append("Content-Type: application/json")
        }
        for line in headers { transfer.headers = curl_slist_append(transfer.headers, line) }
        _ = easy_set_headers(easy, transfer.headers)
    }

    // MARK: Callbacks of curl and libuv

    /// llama.cpp closes the connection after a chunked answer without saying so, and a request that is sent on it
    /// meanwhile would be lost. A server that names itself as another keeps it: a new one costs 45 µs.
    private static func note(_ transfer: Transfer, _ header: UnsafeRawBufferPointer) {
        func begins(_ name: String, from start: Int = 0) -> Bool {
            header.count >= start + name.utf8.count
                && zip(header[start...], name.utf8).allSatisfy { $0 == $1 || $0 | 0x20 == $1 }
        }
        if begins("transfer-encoding:") {
            transfer.isChunked = true
        } else if begins("server: ") {
            transfer.isOfNamedServer = !begins("llama.cpp", from: 8)
        } else if header.count <= 2, transfer.isChunked, !transfer.isOfNamedServer {
            // The end of the head.
            _ = easy_set_long(transfer.easy, CURLOPT_FORBID_REUSE, 1)
        }
    }

    private static func hand(_ transfer: Transfer, _ room: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(room.count, transfer.body.count - transfer.sent)
        room.copyBytes(from: transfer.body[transfer.sent..<transfer.sent + count])
        transfer.sent += count
        return count
    }

    private static func collect(_ transfer: Transfer, _ bytes: UnsafeRawBufferPointer) -> Int {
        if transfer.status == 0 { transfer.readStatus() }
        transfer.bytes.append(contentsOf: bytes)
        if !transfer.isQueued, let owner = transfer.owner {
            transfer.isQueued = true
            owner.ready.append(transfer)
        }
        return bytes.count
    }

    private func watch(_ socket: curl_socket_t, _ what: Int32) -> Int32 {
        guard what != CURL_POLL_REMOVE else {
            if let watch = watches.removeValue(forKey: socket) { Self.dispose(watch.poll) }
            return 0
        }
        if watches[socket] == nil {
            let poll = UnsafeMutablePointer<uv_poll_t>.allocate(capacity: 1)
            guard uv_poll_init_socket(loop, poll, socket) == 0 else {
                poll.deallocate()
                return -1
            }
            poll.pointee.data = Unmanaged.passUnretained(self).toOpaque()
            watches[socket] = Watch(poll: poll)
        }
        var events: UInt32 = 0
        if what != CURL_POLL_OUT { events |= UV_READABLE.rawValue }
        if what != CURL_POLL_IN { events |= UV_WRITABLE.rawValue }
        watches[socket]?.events = events
        startWatching(socket)
        return 0
    }

    private func startWatching(_ socket: curl_socket_t) {
        guard let watch = watches[socket] else { return }
        uv_poll_start(watch.poll, Int32(watch.events)) { poll, status, events in
            guard let poll, let context = poll.pointee.data else { return }
            var socket = uv_os_fd_t()
            let isOpen = poll.withMemoryRebound(to: uv_handle_t.self, capacity: 1) {
                uv_fileno($0, &socket) == 0
            }
            guard isOpen else { return }
            var flags: Int32 = 0
            if status < 0 { flags |= CURL_CSELECT_ERR }
            if UInt32(bitPattern: events) & UV_READABLE.rawValue != 0 { flags |= CURL_CSELECT_IN }
            if UInt32(bitPattern: events) & UV_WRITABLE.rawValue != 0 { flags |= CURL_CSELECT_OUT }
            HTTPStreams.at(context).act(socket, flags)
        }
    }

    /// Part of an answer was read from the socket: lets it rest if that comes quickly.
    private func hasRead(_ socket: curl_socket_t) {
        guard let watch = watches[socket], let restTimer else { return }
        let now = SystemClock.monotonic
        watches[socket]?.readAt = now
        guard now - watch.readAt < Self.restTime, watch.events == UV_READABLE.rawValue else { return }
        uv_poll_stop(watch.poll)
        resting.append(socket)
        guard resting.count == 1 else { return }
        uv_timer_start(
            restTimer,
            { timer in
                guard let context = timer?.pointee.data else { return }
                HTTPStreams.at(context).endRest()
            }, UInt64(Self.restTime.milliseconds), 0)
    }

    private func endRest() {
        // A socket may have been closed meanwhile, or another have its number: to watch that once more is harmless.
        for socket in resting { startWatching(socket) }
        resting.removeAll(keepingCapacity: true)
    }

    /// curl closes the descriptor next, so the poll stops now; the handle's memory is freed when libuv lets
    /// go.
    private static func dispose(_ poll: UnsafeMutablePointer<uv_poll_t>) {
        uv_poll_stop(poll)
        poll.pointee.data = nil
        release(poll)
    }

    private static func dispose(_ timer: UnsafeMutablePointer<uv_timer_t>) {
        uv_timer_stop(timer)
        timer.pointee.data = nil
        release(timer)
    }

    private static func release<Handle>(_ handle: UnsafeMutablePointer<Handle>) {
        handle.withMemoryRebound(to: uv_handle_t.self, capacity: 1) { handle in
            uv_close(handle) { UnsafeMutableRawPointer($0)?.deallocate() }
        }
    }

    @discardableResult
    private func setTimer(_ milliseconds: Int) -> Int32 {
        guard let timer else { return 0 }
        guard milliseconds >= 0 else {
            uv_timer_stop(timer)
            return 0
        }
        uv_update_time(loop)
        // libuv runs a zero-length timer set in a timer's callback at once, without polling sockets.
        uv_timer_start(
            timer,
            { timer in
                guard let context = timer?.pointee.data else { return }
                let streams = HTTPStreams.at(context)
                streams.isInTimer = true
                streams.act(CURL_SOCKET_BAD, 0)
                streams.isInTimer = false
            }, UInt64(max(milliseconds, isInTimer ? 1 : 0)), 0)
        return 0
    }

    private func act(_ socket: curl_socket_t, _ events: Int32) {
        guard let multi else { return }
        var running: Int32 = 0
        curl_multi_socket_action(multi, socket, events, &running)
        let isRead = !ready.isEmpty
        drain()
        if isRead, socket != CURL_SOCKET_BAD { hasRead(socket) }
    }

    /// Delivers what has been collected to the sinks, then what has ended. A sink's calls may collect more
    /// (`resume`), but never re-enter.
    private func drain() {
        guard !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        while !ready.isEmpty, !isClosed {
            let batch = ready
            ready = []
            for transfer in batch {
                transfer.isQueued = false
                tell(transfer)
            }
        }
        while !isClosed, let multi {
            var left: Int32 = 0
            guard let message = curl_multi_info_read(multi, &left) else { break }
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle,
                let context = easy_get_private(easy)
            else { continue }
            // Copied before the handle is removed, which frees the message.
            let result = message_result(message)
            let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            if transfer.status == 0 { transfer.readStatus() }
            let wait = Interval.seconds(Int64(max(0, min(easy_get_retry_after(easy), 86_400))))
            curl_multi_remove_handle(multi, easy)
            transfers[transfer.id] = nil
            tell(transfer)
            let sink = transfer.sink
            transfer.sink = nil
            sink?.ended(transfer.id, TransferEnd(result, status: transfer.status, retryAfter: wait))
        }
    }

    private func tell(_ transfer: Transfer) {
        guard let sink = transfer.sink, !transfer.bytes.isEmpty else { return }
        var bytes: [UInt8] = []
        swap(&bytes, &transfer.bytes)
        bytes.withUnsafeBytes { sink.received(transfer.id, status: transfer.status, $0) }
        bytes.removeAll(keepingCapacity: true)
        if transfer.bytes.isEmpty { swap(&bytes, &transfer.bytes) }
    }
}

extension TransferEnd {
    init(_ result: CURLcode, status: Int, retryAfter: Interval) {
        let words = String(cString: curl_easy_strerror(result))
        switch result {
        case CURLE_OK: self = .complete(status: status, retryAfter: retryAfter)
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE: self = .untrusted(words)
        case CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST, CURLE_SSL_CONNECT_ERROR:
            self = .unreachable(words)
        case CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR,
            CURLE_SEND_FAIL_REWIND:
            self = .brokenOff(words)
        case CURLE_OPERATION_TIMEDOUT: self = .timedOut(words)
        default: self = .failed(words)
        }
    }
}
