import Foundation

/// Paths: the package, the program built with these tests, and a folder for temporary files.
enum Project {
    static let root: String = {
        var url = URL(fileURLWithPath: #filePath)
        for _ in 0..<4 { url.deleteLastPathComponent() }
        return url.path
    }()

    /// SwiftPM puts the program next to the test bundle.
    static let program: String = {
        let bundle =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            ?? CommandLine.arguments[0]
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().path + "/starling"
    }()

    static let python = "\(root)/.cache/venv/bin/python"
    static func script(_ name: String) -> String { "\(root)/Tests/ProcessTests/\(name)" }

    /// A new empty folder of this test process. Folders (and testnets) of killed test processes are removed
    /// first.
    static func folder(_ name: String) throws -> String {
        _ = cleared
        let path = "\(base)\(getpid())/\(name)-\(UInt32.random(in: 0...UInt32.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    static func remove(_ folder: String) {
        try? FileManager.default.removeItem(atPath: folder)
        // Fails unless it is empty, which it is after the last test.
        rmdir("\(base)\(getpid())")
    }

    private static let base = "/tmp/starling-process-tests-"

    private static let cleared: Void = {
        let files = FileManager.default
        for name in (try? files.contentsOfDirectory(atPath: "/tmp")) ?? [] {
            let path = "/tmp/\(name)"
            guard path.hasPrefix(base), let pid = Int32(path.dropFirst(base.count)), kill(pid, 0) != 0 else {
                continue
            }
            for testnet in (try? files.contentsOfDirectory(atPath: path)) ?? [] {
                let down = try? Process.run(
                    URL(fileURLWithPath: "/usr/bin/env"),
                    arguments: ["STARLING_TESTNET=\(path)/\(testnet)", program, "testnet", "down", "--purge"])
                down?.waitUntilExit()
            }
            try? files.removeItem(atPath: path)
        }
    }()
}
