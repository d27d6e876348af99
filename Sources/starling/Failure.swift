import ArgumentParser
import Foundation
import MeshClient
import MeshDocuments
import NodeConfiguration
import Store
import Testnet

/// Exit codes of sysexits.h, as the root command's help lists them.
enum ExitStatus: Int32 {
    case failed = 1
    case usage = 64
    case unavailable = 69
    case brokenOff = 74
    case tryAgain = 75
    case permission = 77
    case configuration = 78
    case interrupted = 130
}

/// Prints the problem and the fix to stderr, and returns `status` as the error to throw.
func fail(_ problem: String, fix: String?, _ status: ExitStatus) -> ExitCode {
    remark("starling: \(problem)")
    if let fix { remark("  fix: \(fix)") }
    return ExitCode(status.rawValue)
}

/// `~`: HOME if it is set, as in other Unix programs, else the account's home folder.
var homeFolder: String {
    let home = ProcessInfo.processInfo.environment["HOME"] ?? ""
    return home.isEmpty ? NSHomeDirectory() : home
}

/// Prints a line to stderr.
func remark(_ line: String) { FileHandle.standardError.write(Data((line + "\n").utf8)) }

/// Prints text to stdout, unbuffered, without a line end.
func emit(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }

/// Runs a command's body and turns every error into a sentence, a fix and an exit code.
func reporting(_ body: () async throws -> Void) async throws {
    do {
        try await body()
    } catch let error as ExitCode {
        throw error
    } catch let error as ConfigurationError {
        throw fail(error.description, fix: error.fix, .configuration)
    } catch let error as KeyFileError {
        throw fail(error.description, fix: error.fix, .permission)
    } catch let error as MeshClientError {
        throw fail(
            error.description,
            fix: error.isUnreachable
                ? "start one with `starling node`, or say where it is: --via http://host:port" : "try again",
            .unavailable)
    } catch let error as TestnetError {
        throw fail(error.description, fix: error.fix, ExitStatus(rawValue: error.exitCode) ?? .failed)
    }
}

/// A stranger's text made safe for a terminal: control characters are removed, line ends and tabs stay.
func printable(_ text: some StringProtocol) -> String {
    String(
        String.UnicodeScalarView(
            text.unicodeScalars.filter { scalar in
                scalar == "\n" || scalar == "\t"
                    || !(scalar.properties.generalCategory == .control
                        || scalar.properties.generalCategory == .format)
            }))
}
