import CLibuv
import OpenAIFormat
import Primitives

@testable import Inference

/// A loop run by the test's own thread, so that everything happens there and in order.
final class TestLoop {
    let uv = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)

    init() { uv_loop_init(uv) }

    deinit {
        uv_run(uv, UV_RUN_DEFAULT)
        precondition(uv_loop_close(uv) == 0, "a test left handles open")
        uv.deallocate()
    }

    /// Runs until `condition` holds; returns false if it doesn't within `limit`.
    func run(limit: Interval = .seconds(20), until condition: () -> Bool) -> Bool {
        let end = LoopAlarm.now() + limit
        let alarm = LoopAlarm(loop: uv)
        defer { alarm.close() }
        while !condition() {
            let now = LoopAlarm.now()
            guard now < end else { return false }
            // Wakes regularly, because a condition may depend only on time.
            alarm.set(min(end, now + .milliseconds(50)), now: now)
            uv_run(uv, UV_RUN_ONCE)
        }
        return true
    }

    func run(for time: Interval) {
        let end = LoopAlarm.now() + time
        _ = run(limit: time + .seconds(5)) { LoopAlarm.now() >= end }
    }
}

/// A model server on the test's loop; the test decides every byte that it sends.
final class ScriptedServer {
    final class Connection {
        fileprivate let handle = UnsafeMutablePointer<uv_tcp_t>.allocate(capacity: 1)
        fileprivate unowned let server: ScriptedServer
        fileprivate var received: [UInt8] = []
        private var isOpen = true
        /// When the client closed it; nil while it is open.
        private(set) var leftAt: MonotonicTime?
        var path = ""
        var body = ""
        var headers = ""

        fileprivate init(server: ScriptedServer) {
            self.server = server
            uv_tcp_init(server.loop.uv, handle)
            handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
        }

        deinit { handle.deallocate() }

        fileprivate var stream: UnsafeMutablePointer<uv_stream_t> {
            UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_stream_t.self)
        }

        /// Writes immediately, as one segment if the kernel allows it.
        func write(_ text: String) { write(Array(text.utf8)) }

        func write(_ bytes: [UInt8]) {
            guard isOpen, !bytes.isEmpty else { return }
            final class Pending { var bytes: [UInt8] = [] }
            let request = UnsafeMutablePointer<uv_write_t>.allocate(capacity: 1)
            let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.count)
            for (index, byte) in bytes.enumerated() { copy[index] = CChar(bitPattern: byte) }
            request.pointee.data = UnsafeMutableRawPointer(copy.baseAddress)
            var buffer = uv_buf_t(base: copy.baseAddress, len: copy.count)
            uv_write(request, stream, &buffer, 1) { request, _ in
                request?.pointee.data?.deallocate()
                request?.deallocate()
            }
        }

        var unsent: Int { Int(stream.pointee.write_queue_size) }

        func head(_ status: Int = 200, type: String = "text/event-stream", length: Int? = nil) {
            let size = length.map { "Content-Length: \($0)" } ?? "Connection: close"
            write("HTTP/1.1 \(status) X\r\nContent-Type: \(type)\r\n\(size)\r\n\r\n")
        }

        func answer(_ status: Int, _ json: String) {
            head(status, type: "application/json", length: json.utf8.count)
            write(json)
        }

        func close() {
            guard isOpen else { return }
            isOpen = false
            UnsafeMutableRawPointer(handle).withMemoryRebound(to: uv_handle_t.self, capacity: 1) { handle in
                uv_close(handle) { handle in
                    guard let data = handle?.pointee.data else { return }
                    Unmanaged<Connection>.fromOpaque(data).release()
                }
            }
        }

        fileprivate func readStart() {
            uv_read_start(
                stream,
                { _, size, buffer in
                    buffer?.pointee = uv_buf_t(base: .allocate(capacity: size), len: size)
                },
                { stream, count, buffer in
                    defer { buffer?.pointee.base?.deallocate() }
                    guard let data = stream?.pointee.data else { return }
                    let connection = Unmanaged<Connection>.fromOpaque(data).takeUnretainedValue()
                    guard count >= 0 else {
                        connection.leftAt = LoopAlarm.now()
                        return connection.close()
                    }
                    let bytes = UnsafeRawBufferPointer(start: buffer?.pointee.base, count: count)
                    connection.received.append(contentsOf: bytes)
                    connection.handleRequests()
                })
        }

        private func handleRequests() {
            while isOpen {
                let text = String(decoding: received, as: UTF8.self)
                guard let end = text.firstRange(of: "\r\n\r\n") else { return }
                headers = String(text[..<end.lowerBound])
                let size =
                    headers.split(separator: "\r\n").compactMap { line -> Int? in
                        guard line.lowercased().hasPrefix("content-length:") else { return nil }
                        return Int(line.split(separator: " ").last ?? "")
                    }.first ?? 0
                let start = text[..<end.upperBound].utf8.count
                guard received.count >= start + size else { return }
                body = String(decoding: received[start..<start + size], as: UTF8.self)
                path = String(headers.split(separator: " ").dropFirst().first ?? "")
                received.removeFirst(start + size)
                server.requests.append((path, body))
                server.handler(self)
            }
        }
    }

    fileprivate let loop: TestLoop
    private let listener = UnsafeMutablePointer<uv_tcp_t>.allocate(capacity: 1)
    private(set) var connections: [Connection] = []
    fileprivate(set) var requests: [(path: String, body: String)] = []
    private(set) var port = 0
    private var isOpen = true
    var handler: (Connection) -> Void

    init(_ loop: TestLoop, port: Int = 0, handler: @escaping (Connection) -> Void) {
        self.loop = loop
        self.handler = handler
        uv_tcp_init(loop.uv, listener)
        listener.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        var address = sockaddr_in()
        uv_ip4_addr("127.0.0.1", Int32(port), &address)
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = uv_tcp_bind(listener, $0, 0) }
        }
        UnsafeMutableRawPointer(listener).withMemoryRebound(to: uv_stream_t.self, capacity: 1) { stream in
            _ = uv_listen(stream, 128) { stream, _ in
                guard let stream, let data = stream.pointee.data else { return }
                let server = Unmanaged<ScriptedServer>.fromOpaque(data).takeUnretainedValue()
                let connection = Connection(server: server)
                uv_accept(stream, connection.stream)
                uv_tcp_nodelay(connection.handle, 1)
                // Small, so that back-pressure from a client that doesn't read shows quickly.
                var size: Int32 = 65_536
                UnsafeMutableRawPointer(connection.handle).withMemoryRebound(
                    to: uv_handle_t.self, capacity: 1
                ) {
                    _ = uv_send_buffer_size($0, &size)
                }
                server.connections.append(connection)
                connection.readStart()
            }
        }
        var size = Int32(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = uv_tcp_getsockname(listener, $0, &size)
            }
        }
        self.port = Int(UInt16(bigEndian: address.sin_port))
    }

    var url: String { "http://127.0.0.1:\(port)" }

    func close() {
        guard isOpen else { return }
        isOpen = false
        for connection in connections { connection.close() }
        UnsafeMutableRawPointer(listener).withMemoryRebound(to: uv_handle_t.self, capacity: 1) { handle in
            uv_close(handle) { UnsafeMutableRawPointer($0)?.deallocate() }
        }
    }
}

/// The chunks of an answer as llama.cpp sends them.
enum Script {
    static func chunk(_ content: String) -> String {
        "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"\(content)\"}}]}\n\n"
    }

    static func end(_ tokens: Int, reason: String = "stop") -> String {
        "data: {\"choices\":[{\"finish_reason\":\"\(reason)\",\"index\":0,\"delta\":{}}]}\n\n"
            + "data: {\"choices\":[],\"usage\":{\"completion_tokens\":\(tokens),\"prompt_tokens\":5}}\n\n"
            + "data: [DONE]\n\n"
    }

    static func answer(_ words: [String]) -> String { words.map(chunk).joined() + end(words.count) }

    /// Answers probes as a healthy llama.cpp server, and everything else by `job`.
    static func llama(
        job: @escaping (ScriptedServer.Connection) -> Void
    ) -> (ScriptedServer.Connection) -> Void {
        { connection in
            switch connection.path {
            case "/health": connection.answer(200, "{\"status\":\"ok\"}")
            case "/v1/models":
                connection.answer(200, "{\"data\":[{\"id\":\"wren-m\",\"owned_by\":\"llamacpp\"}]}")
            case "/props":
                connection.answer(
                    200,
                    "{\"default_generation_settings\":{\"n_ctx\":512},\"total_slots\":2,\"model_ftype\":\"Q8_0\"}"
                )
            default: job(connection)
            }
        }
    }
}

/// A backend and a record of its events.
final class Rig: BackendDelegate {
    let loop: TestLoop
    let http: HTTPStreams
    let backend: Backend
    private(set) var events: [JobID: [BackendEvent]] = [:]
    private(set) var statuses: [BackendStatus] = []
    var onEvent: ((JobID, BackendEvent) -> Void)?

    init(
        _ place: BackendConfiguration.Place, dialect: BackendDialect = .llamaCpp, slots: Int = 4,
        speed: Double = 0,
        measures: Bool = false, loop: TestLoop, limits: BackendLimits = .init()
    ) {
        self.loop = loop
        http = HTTPStreams(loop: loop.uv)
        let configuration = BackendConfiguration(
            id: 3, dialect: dialect, place: place, slots: slots, speed: speed, measures: measures,
            limits: limits)
        backend = Backend(configuration, http: http, loop: loop.uv)
        backend.delegate = self
        backend.run()
    }

    /// With a scripted llama.cpp.
    convenience init(
        _ server: ScriptedServer, slots: Int = 4, speed: Double = 0, measures: Bool = false, loop: TestLoop,
        limits: BackendLimits = .init()
    ) {
        self.init(
            .url(server.url), slots: slots, speed: speed, measures: measures, loop: loop, limits: limits)
        _ = loop.run { self.backend.status.isUp }
    }

    func close() {
        backend.close()
        http.close()
    }

    func backend(_ id: Int, job: JobID, did event: BackendEvent) {
        events[job, default: []].append(event)
        onEvent?(job, event)
    }

    func backend(_ id: Int, became status: BackendStatus) { statuses.append(status) }

    func ask(_ id: JobID, body: String? = nil, delivered: String = "", maxTokens: UInt32? = nil)
        -> BackendFailure?
    {
        let chat = "{\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}"
        return backend.start(
            JobRequest(
                id: id, kind: .chat, body: Array((body ?? chat).utf8), delivered: Array(delivered.utf8),
                maxTokens: maxTokens))
    }

    func text(_ id: JobID) -> String {
        var text: [UInt8] = []
        for case .text(let more, _) in events[id] ?? [] { text += more }
        return String(decoding: text, as: UTF8.self)
    }

    func tokens(_ id: JobID) -> Int {
        var sum = 0
        for case .text(_, let tokens) in events[id] ?? [] { sum += tokens }
        return sum
    }

    func finish(_ id: JobID) -> JobFinish? {
        if case .finished(let finish)? = events[id]?.last { finish } else { nil }
    }

    func failure(_ id: JobID) -> BackendFailure? {
        if case .failed(let failure)? = events[id]?.last { failure } else { nil }
    }

    func isOver(_ id: JobID) -> Bool { finish(id) != nil || failure(id) != nil }
}

/// Tests name jobs by plain numbers.
extension JobID: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt64) { self.init(rawValue: value) }
}
