import FoundationEssentials
import Glibc

/// Deliberate faults, and the shutdown of the testnet.
extension LocalTestnet {
    public enum Action: String, Sendable { case kill, freeze, thaw, stop, restart }

    /// Performs the action on the node's process, and records that it was requested.
    public func perform(_ action: Action, on name: String) throws {
        let node = try node(named: name)
        let running = ProcessTable.state(node.pid, startTicks: node.startTicks)
        if action == .restart {
            if running != .gone {
                note(.stop, name)
                ProcessTable.signal(node.pid, startTicks: node.startTicks, SIGCONT)
                ProcessTable.signal(node.pid, startTicks: node.startTicks, SIGTERM)
                if !ProcessTable.waitUntilGone(node.pid, startTicks: node.startTicks, seconds: 15) {
                    ProcessTable.signal(node.pid, startTicks: node.startTicks, SIGKILL)
                    _ = ProcessTable.waitUntilGone(node.pid, startTicks: node.startTicks, seconds: 5)
                }
            }
            note(.restart, name)
            try command("start \(name)")
            let end = Date().addingTimeInterval(20)
            while Date() < end {
                let now = try self.node(named: name)
                if now.pid != node.pid, state(of: now) == "up" { return }
                if now.pid != node.pid, state(of: now) == "failed" { break }
                usleep(20_000)
            }
            throw TestnetError("\(name) did not come up:\n\(lastLines(node.log))", fix: "read \(node.log)")
        }
        guard running != .gone else {
            throw TestnetError("\(name) is not running", fix: "starling testnet restart \(name)")
        }
        if action == .thaw, running != .frozen {
            throw TestnetError("\(name) is not frozen", fix: "starling testnet status")
        }
        if action == .freeze, running == .frozen {
            throw TestnetError("\(name) is frozen already", fix: "starling testnet thaw \(name)")
        }
        note(action, name)
        let signal: Int32 =
            switch action {
            case .kill: SIGKILL
            case .freeze: SIGSTOP
            case .thaw: SIGCONT
            case .stop, .restart: SIGTERM
            }
        ProcessTable.signal(node.pid, startTicks: node.startTicks, signal)
        if action == .kill || action == .stop {
            _ = ProcessTable.waitUntilGone(
                node.pid, startTicks: node.startTicks, seconds: action == .kill ? 5 : 30)
            // The supervisor records how the process ended a moment later.
            let end = Date().addingTimeInterval(2)
            while Date() < end, try self.node(named: name).exit == nil { usleep(5_000) }
        }
    }

    private func note(_ action: Action, _ node: String) {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .secondsSince1970
        guard var line = try? encoder.encode(Event(at: Date(), action: action.rawValue, node: node)) else {
            return
        }
        line.append(10)
        let descriptor = open(layout.events, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        _ = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }

    func isAlive(_ state: TestnetState) -> Bool {
        ProcessTable.state(state.supervisor, startTicks: state.supervisorTicks) == .running
    }

    /// Sends a command to the supervisor; starts one if there is none.
    func command(_ line: String) throws {
        let state = try load()
        if !isAlive(state) { try startSupervisor(state.program) }
        let descriptor = open(layout.control, O_WRONLY | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw TestnetError("the supervisor does not answer", fix: "starling testnet down, then up")
        }
        defer { close(descriptor) }
        let bytes = Array((line + "\n").utf8)
        _ = write(descriptor, bytes, bytes.count)
    }

    // MARK: Down

    /// Stops everything in the state file, no matter which process started it. Returns the number of nodes
    /// that ran; nil when there is no such testnet. Logs stay unless `purge`.
    @discardableResult
    public func down(purge: Bool) throws -> Int? {
        guard let state = TestnetState.load(layout) else {
            if purge { try? FileManager.default.removeItem(atPath: layout.folder) }
            return nil
        }
        let ran = state.nodes.count { ProcessTable.state($0.pid, startTicks: $0.startTicks) != .gone }
        for node in state.nodes {
            ProcessTable.signal(node.pid, startTicks: node.startTicks, SIGTERM)
            ProcessTable.signal(node.pid, startTicks: node.startTicks, SIGCONT)
        }
        let end = Date().addingTimeInterval(5)
        for node in state.nodes
        where !ProcessTable.waitUntilGone(
            node.pid, startTicks: node.startTicks, seconds: max(0, end.timeIntervalSinceNow))
        {
            ProcessTable.signal(node.pid, startTicks: node.startTicks, SIGKILL)
            _ = ProcessTable.waitUntilGone(node.pid, startTicks: node.startTicks, seconds: 2)
        }
        ProcessTable.signal(state.supervisor, startTicks: state.supervisorTicks, SIGTERM)
        _ = ProcessTable.waitUntilGone(state.supervisor, startTicks: state.supervisorTicks, seconds: 2)
        try? FileManager.default.removeItem(atPath: layout.state)
        try? FileManager.default.removeItem(atPath: layout.control)
        if purge { try? FileManager.default.removeItem(atPath: layout.folder) }
        return ran
    }
}
