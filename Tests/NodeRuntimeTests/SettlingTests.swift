import Foundation
import Primitives
import Testing

@testable import NodeRuntime

@Suite struct SettlingTests {
    private let peer = PublicKey(Bytes32(1, 2, 3, 4))
    private func money(_ amount: Int64) -> Money { Money(microCredits: amount) }
    private let now = MonotonicTime.zero + .minutes(60)

    @Test func aTrancheIsWhatIsOwedBeyondWhatWasPaid() {
        var settling = Settling(orders: [peer: .init(paid: money(30))])
        #expect(settling.begin(peer, owing: money(30), threshold: nil, now) == nil)
        #expect(settling.begin(peer, owing: money(100), threshold: nil, now) == money(70))
        #expect(settling.begin(peer, owing: money(200), threshold: nil, now) == nil, "one at a time")
        settling.succeeded(peer)
        #expect(settling.paid(peer) == money(100))
        #expect(settling.begin(peer, owing: money(120), threshold: nil, now) == money(20))
    }

    @Test func whatMayHaveBeenPaidIsOrderedAgainAsItWas() {
        var settling = Settling()
        #expect(settling.begin(peer, owing: money(50), threshold: nil, now) == money(50))
        settling.failed(peer, now)
        var restarted = Settling(orders: settling.orders)
        #expect(restarted.begin(peer, owing: money(80), threshold: nil, now) == money(50))
        restarted.succeeded(peer)
        #expect(restarted.begin(peer, owing: money(80), threshold: nil, now) == money(30))
    }

    @Test func byItselfItWaitsForTheThresholdAndAfterAFailure() {
        var settling = Settling()
        #expect(settling.begin(peer, owing: money(99), threshold: money(100), now) == nil)
        #expect(settling.begin(peer, owing: money(100), threshold: money(100), now) == money(100))
        settling.failed(peer, now)
        #expect(settling.begin(peer, owing: money(100), threshold: money(100), now) == nil)
        #expect(settling.begin(peer, owing: money(100), threshold: nil, now) == money(100), "asked for")
        settling.failed(peer, now)
        #expect(
            settling.begin(peer, owing: money(100), threshold: money(100), now + .minutes(10)) == money(100))
    }
}

@Suite struct HookTests {
    private func run(_ command: [String], _ input: String = "", timeout: Duration = .seconds(20)) throws {
        try Hook(command: command, timeout: timeout).run(Array(input.utf8))
    }

    private func failure(_ command: [String], timeout: Duration = .seconds(20)) throws -> String {
        try #require(throws: Hook.Failure.self) { try run(command, timeout: timeout) }.problem
    }

    @Test func theProgramGetsTheDocumentOnItsStandardInput() throws {
        let file = NSTemporaryDirectory() + "hook-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try run(["/bin/sh", "-c", "cat > \(file)"], #"{"amount": 1}"#)
        #expect(try String(contentsOfFile: file, encoding: .utf8) == #"{"amount": 1}"#)
    }

    @Test func noShellReadsTheCommand() throws {
        let file = NSTemporaryDirectory() + "hook-\(UUID().uuidString)"
        try run(["/bin/echo", "; touch \(file)", "$(touch \(file))"])
        #expect(!FileManager.default.fileExists(atPath: file))
    }

    @Test func aFailureHasItsStatusAndTheLastWords() throws {
        #expect(try failure(["/bin/sh", "-c", "echo one >&2; echo two >&2; exit 7"]) == "exited with 7: two")
        #expect(try failure(["/bin/sh", "-c", "kill -9 $$"]) == "was ended by signal 9")
        #expect(try failure(["/nowhere/pay"]) == "/nowhere/pay can't be started: No such file or directory")
    }

    @Test func whatRunsTooLongIsKilledWithItsChildren() throws {
        let words = try failure(["/bin/sh", "-c", "sleep 600 & sleep 600"], timeout: .milliseconds(1_100))
        #expect(words.hasPrefix("was still running after 1 s"))
    }

    @Test func itsErrorsAreBoundedAndDontBlockIt() throws {
        let noisy = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo end >&2; exit 1"
        #expect(try failure(["/bin/sh", "-c", noisy]) == "exited with 1: end")
    }

    @Test func itGetsNoFileOfThisProcessAndLittleOfItsEnvironment() throws {
        setenv("STARLING_SECRET_OF_TEST", "x", 1)
        defer { unsetenv("STARLING_SECRET_OF_TEST") }
        try run(["/bin/sh", "-c", #"test -z "$STARLING_SECRET_OF_TEST" && test -n "$PATH""#])
    }
}
