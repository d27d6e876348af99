import Glibc
import OpenAIFormat
import Primitives
import Testing

@testable import Inference

enum Project {
    /// The project's folder: the working folder, or else derived from this file's path.
    static let root: String = {
        var path = #filePath.split(separator: "/").dropLast(3).map(String.init)
        while !path.isEmpty, access("/" + path.joined(separator: "/") + "/testnet/models", F_OK) != 0 {
            path.removeLast()
        }
        return "/" + path.joined(separator: "/")
    }()

    static func path(_ relative: String) -> String { root + "/" + relative }

    static let python = path(".cache/venv/bin/python")
    static let hasLlama = access(python, X_OK) == 0

    static func managed(_ model: String = "wren-m", slots: Int = 2) -> BackendConfiguration.Place {
        .managed(
            ManagedServerOptions(
                launcher: .python(interpreter: python, script: path("scripts/llama-server.py")),
                file: path("testnet/models/\(model).gguf"), slots: slots))
    }
}

private func isRunning(_ pid: Int32) -> Bool { kill(pid, 0) == 0 }

@Suite(
    .serialized,
    .enabled(if: Project.hasLlama, "llama.cpp is not installed in .cache/venv: scripts/setup does it"))
struct LlamaCppTests {
    let loop = TestLoop()

    private func count(_ from: Int, _ to: Int) -> String {
        "{\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"Count from \(from) to \(to).\"}]}"
    }

    @Test func aManagedServerDescribesMeasuresAnswersAndContinuesExactly() throws {
        let rig = Rig(Project.managed(), measures: true, loop: loop)
        #expect(loop.run { rig.backend.status.isUp && rig.backend.status.description?.digest != nil })
        let status = rig.backend.status
        #expect(status.continues)
        #expect(status.meter.isMeasured && status.meter.coldFirstTokenSeconds > 0)
        #expect(status.description?.name == "wren-m" && status.description?.context == 512)
        #expect(status.description?.quantization == "q8_0" && status.description?.digestOrigin == .file)

        // One event per token, so that every cut is at a token boundary.
        var pieces: [[UInt8]] = []
        #expect(rig.ask(1, body: count(5, 40), maxTokens: 200) == nil)
        _ = rig.backend.startOwn(
            body: try JSONTree(parsing: Array(count(5, 40).utf8)), timeout: .seconds(20)
        ) { event in if case .text(let text, _) = event { pieces.append(text) } }
        #expect(loop.run { rig.isOver(1) && rig.backend.busySlots == 0 && pieces.count >= 60 })
        loop.run(for: .milliseconds(100))
        let whole = rig.text(1)
        #expect(Array(whole.utf8) == pieces.flatMap { $0 })
        #expect(rig.finish(1)?.usage.completionTokens ?? 0 >= UInt32(pieces.count))
        #expect(rig.tokens(1) == pieces.count)

        var cuts = 0
        for cut in stride(from: 1, to: pieces.count, by: max(1, pieces.count / 30)) {
            let delivered = String(decoding: pieces[..<cut].joined(), as: UTF8.self)
            let id = JobID(rawValue: UInt64(100 + cut))
            #expect(
                rig.ask(id, body: count(5, 40), delivered: delivered, maxTokens: UInt32(400 - cut)) == nil)
            #expect(loop.run { rig.isOver(id) })
            #expect(delivered + rig.text(id) == whole, "cut after \(cut) tokens")
            cuts += 1
        }
        #expect(cuts >= 20)
        rig.close()
    }

    @Test func aServerThatIsKilledIsStartedAgainAndNoneIsLeftBehind() {
        let rig = Rig(Project.managed("wren-s"), speed: 50, loop: loop)
        #expect(loop.run { rig.backend.status.isUp })
        let first = rig.backend.managed?.pid ?? 0
        #expect(isRunning(first))
        #expect(rig.ask(1, body: count(5, 80), maxTokens: 400) == nil)
        #expect(loop.run { rig.tokens(1) > 0 })
        kill(first, SIGKILL)
        #expect(loop.run { !rig.backend.status.isUp })
        #expect(rig.ask(2)?.code == .down)
        #expect(loop.run { rig.backend.status.isUp })
        let second = rig.backend.managed?.pid ?? 0
        #expect(second != first && isRunning(second) && !isRunning(first))
        #expect(rig.ask(3) == nil)
        #expect(loop.run { rig.isOver(3) })
        #expect(rig.finish(3) != nil)
        rig.close()
        #expect(!isRunning(second))
    }

    @Test func aServerDiesWithAParentThatIsKilled() throws {
        let program = """
            import os, signal, subprocess, sys
            child = subprocess.Popen([sys.executable, sys.argv[1], sys.argv[2], '--parent', str(os.getpid())], stdout=subprocess.PIPE)
            child.stdout.readline()
            print(child.pid, flush=True)
            signal.pause()
            """
        let parent = try ChildProcess(
            [
                Project.python, "-c", program, Project.path("scripts/llama-server.py"),
                Project.path("testnet/models/wren-s.gguf"),
            ], loop: loop.uv)
        var pid: Int32 = 0
        parent.onLine = { pid = Int32(String(decoding: $0, as: UTF8.self)) ?? -1 }
        #expect(loop.run { pid != 0 })
        #expect(isRunning(pid))
        parent.kill(SIGKILL)
        #expect(loop.run { !isRunning(pid) })
        parent.close()
    }

    @Test func anOperatorsOwnBinaryIsStartedWatchedAndEnded() throws {
        // Accepts upstream's arguments and answers like the launcher.
        let path = "/tmp/llama-server-\(getpid())"
        let program = """
            #!/bin/bash
            while [ $# -gt 0 ]; do
              case $1 in
                --model) file=$2; shift ;;
                --ctx-size) context=$2; shift ;;
                --port|--parallel|--threads|--alias) kept="$kept $1 $2"; shift ;;
              esac
              shift
            done
            exec \(Project.python) \(Project.path("scripts/llama-server.py")) $file --context $((context / 2)) $kept

            """
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o755)
        _ = Array(program.utf8).withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
        defer { unlink(path) }
        let options = ManagedServerOptions(
            launcher: .binary(path: path), file: Project.path("testnet/models/wren-s.gguf"), slots: 2)
        let rig = Rig(.managed(options), loop: loop)
        #expect(loop.run { rig.backend.status.isUp })
        #expect(rig.backend.status.description?.context == 512)
        #expect(rig.ask(1) == nil)
        #expect(loop.run { rig.finish(1) != nil })
        let pid = rig.backend.managed?.pid ?? 0
        #expect(isRunning(pid))
        rig.close()
        #expect(!isRunning(pid))
    }

    @Test func aFileThatIsNoModelIsSaidSo() {
        let options = ManagedServerOptions(
            launcher: .python(interpreter: Project.python, script: Project.path("scripts/llama-server.py")),
            file: Project.path("Package.swift"))
        let rig = Rig(.managed(options), loop: loop)
        #expect(loop.run { !rig.statuses.isEmpty })
        if case .down(let reason)? = rig.statuses.last?.state {
            #expect(reason.message.hasSuffix("Package.swift is not a GGUF file."))
        } else {
            Issue.record("\(rig.statuses)")
        }
        rig.close()
    }
}
