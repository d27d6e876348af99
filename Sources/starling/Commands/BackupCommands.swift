import ArgumentParser
import Cryptography
import MeshDocuments
import Primitives
import Store
import UVLoop

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup", abstract: "Copy your node's key and database, also while it runs.",
        discussion: """
            The new folder has the key, which is your node, and everything that it \
            earned: keep it where nobody else can read it.

              starling backup ~/backups/starling-1
            """)
    @Argument(help: ArgumentHelp("A folder that doesn't exist yet.", valueName: "DIR")) var folder: String
    @Option(
        help: ArgumentHelp(
            "The node's configuration. Default: ~/.config/starling/node.yaml", valueName: "FILE"))
    var config: String?

    func run() async throws {
        try await reporting {
            let settings = try NodeCommand.settings(config)
            let backup = try Backup.make(of: settings.data, in: folder, at: SystemClock.wall)
            remark("  wrote    \(folder): \(BackupText.contents(backup))")
        }
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Put a backup in the place of your node's key and database.",
        discussion: """
            The node must be stopped, also where else it may run. A database that is \
            there is kept under another name; another node's key is never replaced. \
            What happened since the backup was made is not in it: see what the \
            command prints.

              starling restore ~/backups/starling-1
            """)
    @Argument(help: ArgumentHelp("A folder that `starling backup` made.", valueName: "DIR"))
    var folder: String
    @Option(
        help: ArgumentHelp(
            "The node's configuration. Default: ~/.config/starling/node.yaml", valueName: "FILE"))
    var config: String?

    func run() async throws {
        try await reporting {
            let settings = try NodeCommand.settings(config)
            let backup = try Backup.read(folder)
            let aside = try backup.restore(to: settings.data, at: SystemClock.wall)
            remark("  restored \(settings.data): \(BackupText.contents(backup))")
            if let aside { remark("  kept     the database that was there, as \(aside)") }
            remark("  lost     receipts that came since: what buyers owe for them they alone can show;")
            remark("           judgements of sellers and buyers, usage of clients' keys and sales since")
            remark(
                "  void     vouchers that this node issued before now: they may have been redeemed since the")
            remark("           backup was made, which it doesn't know")
        }
    }
}

private enum BackupText {
    static func contents(_ backup: Backup) -> String {
        let node = backup.node.map { "the key of \(NodeID(of: $0).short)" } ?? "no key (a testnet's node)"
        let made = Timestamp.text(milliseconds: backup.madeAt.milliseconds)
        return "\(node), \(counted(backup.receipts, "receipt")), as of \(made)"
    }
}
