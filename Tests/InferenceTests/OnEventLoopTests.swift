import Primitives
import Testing
import UVLoop

@testable import Inference

/// How a node uses a backend: an actor on the loop owns it and is its delegate.
private actor Owner: BackendDelegate {
    let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private var backend: Backend?
    private var http: HTTPStreams?
    private var waiting: CheckedContinuation<BackendStatus, Never>?

    init(loop: EventLoop) { self.loop = loop }

    func status(of url: String) async -> BackendStatus {
        let http = HTTPStreams(on: loop)
        let backend = Backend(
            BackendConfiguration(id: 0, dialect: .vllm, place: .url(url), measures: false), http: http,
            on: loop)
        (self.backend, self.http) = (backend, http)
        backend.delegate = self
        return await withCheckedContinuation {
            waiting = $0
            backend.run()
        }
    }

    private func heard(_ status: BackendStatus) {
        waiting?.resume(returning: status)
        waiting = nil
    }

    nonisolated func backend(_ id: Int, job: JobID, did event: BackendEvent) {}
    nonisolated func backend(_ id: Int, became status: BackendStatus) { assumeIsolated { $0.heard(status) } }
}

@Suite struct OnEventLoopTests {
    @Test func anActorOnTheLoopOwnsABackendAndStoppingTheLoopClosesIt() async throws {
        let loop = try EventLoop()
        loop.start()
        let status = await Owner(loop: loop).status(of: "http://127.0.0.1:1")
        #expect(status.isUp == false)
        if case .down(let reason) = status.state {
            #expect(reason.code == .unreachable)
        } else {
            Issue.record("\(status)")
        }
        loop.stop()
    }
}
