import Glibc
import Primitives
import Synchronization
import Testing

@testable import UVLoop

@Suite(.timeLimit(.minutes(1))) struct EventLoopTests {
    @Test func anActorOfTheLoopRunsOnItsThreadAndComesBackAfterASuspension() async throws {
        try await withLoop { owner in
            let loop = owner.loop
            #expect(!loop.isOnLoop)
            try await owner.visit()
            #expect(!loop.isOnLoop)
        }
    }

    @Test func aBareCallbackOfTheLoopIsInsideItsActors() async throws {
        try await withLoop { owner in
            let seen = Promise<Bool>()
            owner.loop.post {
                owner.preconditionIsolated()
                owner.assumeIsolated { $0.preconditionIsolated() }
                seen.keep(owner.loop.isOnLoop)
            }
            #expect(await seen.value())
        }
    }

    @Test func assumingTheLoopFromAnotherThreadIsACrashThatNamesIt() async {
        await #expect(processExitsWith: .failure) {
            let loop = try EventLoop(name: "test")
            loop.start()
            loop.checkIsolated()
        }
    }

    @Test func workPostedByManyThreadsRunsOnceEachAndInOrderOfEach() async throws {
        try await withLoop { owner in
            let threads = 8
            let each = 5_000
            let log = Log()
            await withTaskGroup(of: Void.self) { group in
                for thread in 0..<threads {
                    group.addTask {
                        for i in 0..<each { owner.loop.post { log.entries.append((thread, i)) } }
                    }
                }
            }
            let entries = await owner.run { _ in log.entries }
            #expect(entries.count == threads * each)
            for thread in 0..<threads {
                #expect(entries.filter { $0.0 == thread }.map(\.1) == Array(0..<each))
            }
        }
    }

    @Test func workPostedBeforeTheStartRuns() async throws {
        let loop = try EventLoop()
        let seen = Promise<Bool>()
        loop.post { seen.keep(true) }
        loop.start()
        #expect(await seen.value())
        loop.stop()
    }

    @Test func aLoopThatWasNeverStartedCanBeDroppedOrStopped() throws {
        _ = try EventLoop()
        let loop = try EventLoop()
        loop.stop()
        loop.stop()
    }

    @Test func workAfterTheStopStillRunsOnePieceAtATimeAndFindsEverythingClosed() async throws {
        let loop = try EventLoop()
        loop.start()
        let owner = Owner(loop)
        let timer = try await owner.run { owner in
            let timer = try Timer(on: owner.loop) {}
            nonisolated(unsafe) let shared = timer
            return UncheckedBox(shared)
        }
        loop.stop()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<200 { group.addTask { await owner.count() } }
        }
        #expect(await owner.counted == 200)
        await owner.run { _ in
            timer.value.arm(after: .zero)
            #expect(!timer.value.isOpen)
        }
        await #expect(throws: SocketError.self) {
            try await owner.run { owner in _ = try UDPSocket(on: owner.loop, bind: anyPort) }
        }
    }

    @Test func aTaskThatNeverRestsCannotHoldUpTheStop() async throws {
        let loop = try EventLoop()
        loop.start()
        let owner = Owner(loop)
        let task = Task { await owner.spinUntilCancelled() }
        await owner.count()
        loop.stop()
        task.cancel()
        await task.value
    }

    @Test func twoThreadsMayStopTheSameLoop() async throws {
        let loop = try EventLoop()
        loop.start()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<3 { group.addTask { loop.stop() } }
        }
    }

    @Test func stoppingWithOpenSocketsTellsTheirOwnersAndLeaksNothing() async throws {
        let loop = try EventLoop()
        loop.start()
        let owner = Owner(loop)
        let ends = Promise<TCPEnd>()
        let connected = Promise<Bool>()
        let alive = Weak()
        try await owner.run { owner in
            let listener = try TCPListener(on: owner.loop, bind: anyPort) { connection in
                connection.onClosed = { ends.keep($0) }
                connection.write([UInt8](repeating: 1, count: 4_000_000))
                connected.keep(true)
            }
            let client = try TCPConnection(on: owner.loop, to: listener.endpoint)
            client.pauseReading()
            client.onClosed = { ends.keep($0) }
            let socket = try UDPSocket(on: owner.loop, bind: anyPort)
            socket.send([1, 2, 3], to: socket.endpoint)
            let timer = try Timer(on: owner.loop) {}
            timer.arm(after: .seconds(100))
            alive.objects = [listener, client, socket, timer].map { WeakReference($0) }
        }
        _ = await connected.value()
        loop.stop()
        #expect(await ends.value() == .loopStopped)
        #expect(await ends.value() == .loopStopped)
        #expect(alive.objects.allSatisfy { $0.object == nil })
    }
}

/// Accessed only on the loop.
final class Log: @unchecked Sendable { var entries: [(Int, Int)] = [] }
struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
final class WeakReference {
    weak var object: LoopHandle?
    init(_ object: LoopHandle) { self.object = object }
}
/// Accessed on the loop, and after its end.
final class Weak: @unchecked Sendable { var objects: [WeakReference] = [] }

extension Owner {
    func visit() async throws {
        preconditionIsolated()
        #expect(loop.isOnLoop)
        try await Task.sleep(nanoseconds: 1_000)
        #expect(loop.isOnLoop)
        await Task.yield()
        #expect(loop.isOnLoop)
    }
    func spinUntilCancelled() async { while !Task.isCancelled { await Task.yield() } }
}
