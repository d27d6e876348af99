import Synchronization
import Testing

@testable import Gateway

/// Opened once by the test, from any thread.
private final class Gate: Sendable {
    private let isOpen = Mutex(false)
    func open() { isOpen.withLock { $0 = true } }
    func wait() { while !isOpen.withLock({ $0 }) {} }
}

/// How much runs at once.
private final class Meter: Sendable {
    private let running = Mutex((now: 0, most: 0))
    var most: Int { running.withLock { $0.most } }

    func measure() {
        running.withLock {
            $0.now += 1
            $0.most = max($0.most, $0.now)
        }
        running.withLock { $0.now -= 1 }
    }
}

@Suite struct LargeWorkTests {
    private static let huge = LargeWork.hugeMin + 1

    /// Holds the lane of huge work until the gate opens.
    private func hold(_ gate: Gate) async -> Task<Void, Never> {
        let (begun, begins) = AsyncStream<Void>.makeStream()
        let task = Task {
            await LargeWork.run(bytes: Self.huge) {
                begins.yield()
                gate.wait()
            }
        }
        var iterator = begun.makeAsyncIterator()
        await iterator.next()
        return task
    }

    @Test func smallAndLargeWorkDoNotWaitForHugeWork() async {
        let gate = Gate()
        let huge = await hold(gate)
        let large = await LargeWork.run(bytes: LargeWork.sizeMin + 1) { 2 }
        let small = await LargeWork.run(bytes: 1) { 3 }
        gate.open()
        await huge.value
        #expect(large == 2 && small == 3)
    }

    @Test func hugeWorkIsDoneOneAfterTheOther() async {
        let meter = Meter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<32 {
                group.addTask { await LargeWork.run(bytes: Self.huge) { meter.measure() } }
            }
        }
        #expect(meter.most == 1)
    }

    @Test func theBodyOfAClientThatHasLeftIsNotRead() async throws {
        let node = FakeNode()
        try await withGateway(node) { port in
            let gate = Gate()
            let before = await hold(gate)
            let words = String(repeating: "word ", count: LargeWork.hugeMin / 4)
            let body = #"{"model":"wren-m","messages":[{"role":"user","content":"\#(words)"}]}"#
            let client = try RawClient(port: port)
            await client.send("POST", "/v1/chat/completions", body: body)
            client.reset()
            // Its answer shows that the reset, which came earlier, has been seen.
            let models = try await ask(port, "GET", "/v1/models").status
            gate.open()
            await before.value
            let next = try RawClient(port: port)
            await next.send("POST", "/v1/chat/completions", body: body)
            let task = await node.nextTask()
            task.award()
            task.finish()
            let status = try await next.response().status
            #expect(models == 200 && status == 200 && node.requests.count == 1)
        }
    }
}
