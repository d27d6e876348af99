import Primitives

/// How this node pays what it owes.
public struct SettleSettings: Hashable, Sendable {
    /// The program and its arguments, run as they are and never by a shell; empty: this node pays by no command.
    public var command: [String]
    /// What may be owed to one node, beyond what was paid, before the command is run; nil: only when it is asked for.
    public var threshold: Money?
    /// Nanoseconds after which the command is killed.
    public var timeout: Int64

    private static let timeoutMax: Int64 = 3_600_000_000_000

    init(_ reader: YAMLReader) throws(ConfigurationError) {
        try reader.allow(["command", "threshold", "timeout"])
        command = try reader.words("command")
        if let program = command.first, !program.hasPrefix("/") {
            throw reader.child("command").failure(
                "`settle.command` begins with \(program)",
                fix:
                    "give the program's whole path, and each argument by itself: [/usr/local/bin/pay, --quick]"
            )
        }
        threshold = try reader.microCredits("threshold").map { Money(microCredits: $0) }
        if let threshold, threshold <= .zero {
            throw reader.child("threshold").failure(
                "`settle.threshold` is 0", fix: "give the credits that are paid at once, such as 1.00")
        }
        if threshold != nil, command.isEmpty {
            throw reader.child("threshold").failure(
                "`settle.threshold` is set, and there is no `settle.command`",
                fix: "name the program that pays: command: [/usr/local/bin/pay]")
        }
        timeout = try reader.nanoseconds("timeout") ?? 60_000_000_000
        guard (1_000_000_000...Self.timeoutMax).contains(timeout) else {
            throw reader.child("timeout").failure(
                "`settle.timeout` is out of bounds", fix: "give 1 s to 1 h")
        }
    }
}
