import Primitives
import UVLoop

/// A persistent connection to one target, and the answer it is reading.
final class LoadConnection {
    private let target: Int
    private let generator: LoadGenerator
    private let done: () -> Void
    private var connection: TCPConnection?
    private var head: HTTPHead?
    private var isAsking = false
    private var buffer: [UInt8] = []
    private var body: [UInt8] = []
    private var chunks: ChunkReader?
    private var length = 0
    private var scanned = 0
    private var askedAt = MonotonicTime.zero
    private var firstAt: MonotonicTime?
    private var lastAt = MonotonicTime.zero

    init(target: Int, _ generator: LoadGenerator, done: @escaping () -> Void) {
        self.target = target
        self.generator = generator
        self.done = done
    }

    func open(_ standing: @escaping () -> Void) {
        let endpoint = generator.endpoints[target]
        do {
            let connection = try TCPConnection(on: generator.loop, to: endpoint)
            connection.onConnected = standing
            connection.onBytes = { self.received($0) }
            connection.onClosed = { self.closed($0) }
            self.connection = connection
        } catch { generator.fail("can't connect to \(endpoint): \(error)") }
    }

    func ask() {
        isAsking = true
        head = nil
        chunks = nil
        buffer.removeAll(keepingCapacity: true)
        body.removeAll(keepingCapacity: true)
        scanned = 0
        firstAt = nil
        askedAt = SystemClock.monotonic
        connection?.write(generator.requests[target])
    }

    private func closed(_ end: TCPEnd) {
        connection = nil
        if !isAsking, head == nil {
            generator.fail("no connection to \(generator.endpoints[target]): \(end)")
        }
        let wasAsking = isAsking
        open { [unowned self] in if wasAsking { failed("the connection closed: \(end)") } }
    }

    private func failed(_ words: String) {
        generator.samples[target].errors += 1
        if generator.samples[target].firstError.isEmpty { generator.samples[target].firstError = words }
        isAsking = false
        done()
    }

    private func received(_ bytes: UnsafeRawBufferPointer) {
        guard isAsking else { return }
        let now = SystemClock.monotonic
        if head == nil {
            buffer.append(contentsOf: bytes)
            guard let end = buffer.firstRange(of: "\r\n\r\n") else { return }
            let head = HTTPHead(buffer[..<end.lowerBound])
            self.head = head
            if head.headers["transfer-encoding"] == "chunked" { chunks = ChunkReader() }
            length = head.headers["content-length"].flatMap { Int($0) } ?? 0
            if generator.plan.isStalled { connection?.pauseReading() }
            let rest = Array(buffer[end.upperBound...])
            rest.withUnsafeBytes { take($0, now) }
        } else {
            take(bytes, now)
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer, _ now: MonotonicTime) {
        if chunks != nil {
            guard chunks?.feed(bytes, into: &body) == true else { return connection?.abort() ?? () }
        } else {
            body.append(contentsOf: bytes)
        }
        lookForText(now)
        if chunks?.isOver ?? (body.count >= length) { finished(now) }
    }

    /// Records when text arrived: a `content` that is not empty.
    private func lookForText(_ now: MonotonicTime) {
        while let found = body.firstRange(of: "\"content\":\"", from: scanned) {
            guard found.upperBound < body.count else { return }
            scanned = found.upperBound
            guard body[found.upperBound] != UInt8(ascii: "\"") else { continue }
            if firstAt == nil { firstAt = now }
            lastAt = now
        }
        // The pattern may be cut at the end; everything before its longest possible beginning was searched.
        scanned = max(scanned, body.count - 10)
    }

    private func finished(_ now: MonotonicTime) {
        guard let head, head.firstLine.contains(" 200 "), let firstAt else {
            return failed("\(head?.firstLine ?? "") \(String(decoding: body.prefix(2_000), as: UTF8.self))")
        }
        generator.samples[target].first.append((firstAt - askedAt).microseconds)
        generator.samples[target].last.append((lastAt - askedAt).microseconds)
        generator.samples[target].total.append((now - askedAt).microseconds)
        let tokens = body.firstRange(of: "\"completion_tokens\":").flatMap { body.number(at: $0.upperBound) }
        generator.samples[target].tokens.append(tokens ?? 0)
        generator.samples[target].tasks.append(head.headers["x-request-id"] ?? "")
        generator.samples[target].timings.append(head.headers["server-timing"] ?? "")
        isAsking = false
        done()
    }
}
