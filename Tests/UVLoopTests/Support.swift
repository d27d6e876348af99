import Glibc
import Primitives
import Testing
import UVLoop

/// The owner of sockets in these tests, like `Node` in the program: an actor that lives on the loop.
actor Owner {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private(set) var counted = 0
    /// What an echo sends at the end of a batch.
    var slab: [UInt8] = []
    var slots: [DatagramSlot] = []
    init(_ loop: EventLoop) { self.loop = loop }

    func count() { counted += 1 }

    /// Runs `body` on the loop.
    func run<R: Sendable>(_ body: @Sendable (isolated Owner) throws -> R) rethrows -> R { try body(self) }
}

/// A loop for one test, stopped even if the test throws.
func withLoop(_ body: (Owner) async throws -> Void) async throws {
    let loop = try EventLoop(name: "test")
    loop.start()
    do {
        try await body(Owner(loop))
    } catch {
        loop.stop()
        throw error
    }
    loop.stop()
}

/// A value that arrives once, from any thread.
final class Promise<Value: Sendable>: Sendable {
    private let stream: AsyncStream<Value>
    private let continuation: AsyncStream<Value>.Continuation
    init() { (stream, continuation) = AsyncStream.makeStream() }

    func keep(_ value: Value) { continuation.yield(value) }

    /// The next kept value.
    func value() async -> Value {
        for await value in stream { return value }
        preconditionFailure("the test was cancelled")
    }
}

let anyPort = Endpoint.loopback(0)
let anyPortIPv6 = Endpoint(high: 0, low: 1, port: 0)

extension TCPEnd {
    var failure: SocketError? {
        if case .failed(let error) = self { error } else { nil }
    }
}
