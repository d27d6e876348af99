// Hand-written HTTP over a blocking socket, on its own threads: the tests inspect bytes, and hang up at will.

import Foundation
import Gateway
import Logging
import Synchronization
import Testing

struct RawResponse: Sendable {
    var status: Int
    var headers: [String: String]
    var body: String

    subscript(name: String) -> String? { headers[name] }

    func json() throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
    }

    func error() throws -> [String: Any] { try #require(try json()["error"] as? [String: Any]) }
}

final class RawClient: Sendable {
    private let descriptor: Mutex<Int32>
    private let received = Mutex<[UInt8]>([])
    private let queue = DispatchQueue(label: "raw client")
    private let port: Int

    init(port: Int) throws {
        self.port = port
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            close(descriptor)
            throw Refused(port: port)
        }
        // Makes a test that waits too long fail instead of hang.
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        self.descriptor = Mutex(descriptor)
    }

    deinit { hangUp() }

    func hangUp() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { close(descriptor) }
            descriptor = -1
        }
    }

    /// Ends the connection with a reset.
    func reset() {
        descriptor.withLock { descriptor in
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        }
        hangUp()
    }

    /// Ends the sending half, and still reads: `shutdown(SHUT_WR)`.
    func endSending() { descriptor.withLock { _ = shutdown($0, Int32(SHUT_WR)) } }

    /// Sends what the peer accepts; returns false when it has closed.
    @discardableResult
    func send(_ bytes: [UInt8]) async -> Bool {
        let descriptor = descriptor.withLock { $0 }
        return await withCheckedContinuation { continuation in
            queue.async {
                var rest = bytes[...]
                while !rest.isEmpty {
                    let sent = rest.withUnsafeBytes {
                        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                    }
                    guard sent > 0 else { break }
                    rest = rest.dropFirst(sent)
                }
                continuation.resume(returning: rest.isEmpty)
            }
        }
    }

    func send(
        _ method: String, _ path: String, body: String? = nil, headers: [String: String] = [:]
    ) async {
        var all = ["Host": "127.0.0.1:\(port)"]
        if let body { all["Content-Length"] = String(body.utf8.count) }
        all.merge(headers) { $1 }
        let head = all.map { "\($0): \($1)\r\n" }.joined()
        await send(Array("\(method) \(path) HTTP/1.1\r\n\(head)\r\n\(body ?? "")".utf8))
    }

    /// Returns the bytes received and not yet taken, as soon as `enough` accepts them or the connection ends.
    func receive(until enough: @escaping @Sendable ([UInt8]) -> Bool) async -> [UInt8] {
        let descriptor = descriptor.withLock { $0 }
        return await withCheckedContinuation { continuation in
            queue.async { [self] in
                var buffer = [UInt8](repeating: 0, count: 65_536)
                var bytes = received.withLock { $0 }
                while !enough(bytes) {
                    let count = recv(descriptor, &buffer, buffer.count, 0)
                    guard count > 0 else { break }
                    bytes += buffer[..<count]
                }
                received.withLock { $0 = bytes }
                continuation.resume(returning: bytes)
            }
        }
    }

    func receive(untilText text: String) async -> String {
        let wanted = Array(text.utf8)
        let bytes = await receive { Data($0).range(of: Data(wanted)) != nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads one response. With `head` it has no body, whatever its headers say.
    func response(head: Bool = false) async throws -> RawResponse {
        let bytes = await receive { Self.parse($0, head: head) != nil }
        guard let (response, length) = Self.parse(bytes, head: head) else {
            throw Incomplete(text: String(decoding: bytes, as: UTF8.self))
        }
        received.withLock { $0.removeFirst(length) }
        return response
    }

    struct Incomplete: Error { var text: String }
    struct Refused: Error { var port: Int }

    private static func parse(_ bytes: [UInt8], head isHead: Bool) -> (RawResponse, Int)? {
        guard let end = Data(bytes).range(of: Data("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let status = Int(lines[0].split(separator: " ").dropFirst().first ?? "") ?? 0
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] =
                parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
        }
        if status == 100 {
            return parse(Array(bytes[end.upperBound...]), head: isHead).map { ($0.0, $0.1 + end.upperBound) }
        }
        var body: [UInt8] = []
        var index = end.upperBound
        if isHead || status == 204 {
        } else if headers["transfer-encoding"] == "chunked" {
            while true {
                guard let line = Data(bytes[index...]).range(of: Data("\r\n".utf8)) else { return nil }
                guard
                    let size = Int(
                        String(decoding: bytes[index..<index + line.lowerBound], as: UTF8.self), radix: 16)
                else { return nil }
                index += line.upperBound
                guard bytes.count >= index + size + 2 else { return nil }
                body += bytes[index..<index + size]
                index += size + 2
                if size == 0 { break }
            }
        } else {
            let length = Int(headers["content-length"] ?? "0") ?? 0
            guard bytes.count >= index + length else { return nil }
            body = Array(bytes[index..<index + length])
            index += length
        }
        return (
            RawResponse(status: status, headers: headers, body: String(decoding: body, as: UTF8.self)), index
        )
    }
}

/// Runs `body` with a listening gateway.
func withGateway(
    _ node: FakeNode, _ configure: (inout GatewayConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (_ port: Int) async throws -> Void
) async throws {
    var configuration = GatewayConfiguration()
    configuration.port = 0
    configure(&configuration)
    var logger = Logger(label: "gateway")
    logger.logLevel = .error
    let gateway = try Gateway(node: node, configuration: configuration, logger: logger)
    let (ports, continuation) = AsyncStream<Int>.makeStream()
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            defer { continuation.finish() }
            try await gateway.run { continuation.yield($0) }
        }
        var iterator = ports.makeAsyncIterator()
        if let port = await iterator.next() {
            do {
                try await body(port)
            } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
        }
        do { try await group.waitForAll() } catch is CancellationError {}
    }
}

/// One request on its own connection.
func ask(
    _ port: Int, _ method: String, _ path: String, body: String? = nil, headers: [String: String] = [:]
) async throws -> RawResponse {
    let client = try RawClient(port: port)
    await client.send(method, path, body: body, headers: headers)
    return try await client.response(head: method == "HEAD")
}

let chatBody = #"{"model":"wren-m","messages":[{"role":"user","content":"Hello"}]}"#
let streamBody = #"{"model":"wren-m","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#

/// A client and its task, which no worker has yet.
func asked(
    _ port: Int, _ node: FakeNode, body: String = streamBody
) async throws -> (RawClient, FakeTask) {
    let client = try RawClient(port: port)
    await client.send("POST", "/v1/chat/completions", body: body)
    return (client, await node.nextTask())
}

/// The same with its award.
func awarded(
    _ port: Int, _ node: FakeNode, body: String = streamBody
) async throws -> (RawClient, FakeTask) {
    let (client, task) = try await asked(port, node, body: body)
    task.award()
    return (client, task)
}

/// A streamed answer of which the client has received the first word.
func begun(_ port: Int, _ node: FakeNode) async throws -> (RawClient, FakeTask) {
    let (client, task) = try await awarded(port, node)
    task.say("begun")
    _ = await client.receive(untilText: "begun")
    return (client, task)
}
