import ArgumentParser

/// The program's version, shown by `--version` and to peers.
let starlingVersion = "0.1.0"

@main
struct Starling: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "starling",
        abstract: "Sell and buy AI inference in a mesh of equals.",
        discussion: """
            Try a mesh on this machine:
              starling testnet up testnet/market.yaml
              starling testnet ask "What can you do?"
            Sell what your model server can do:
              starling init
              starling node
            Ask a question at any node:
              starling ask --model wren-m "What can you do?"

            Data goes to stdout, remarks to stderr; --json prints one document.

            Exit codes: 0 done, 1 failed, 64 wrong usage, 69 no bid or no such \
            node, 74 the answer broke off, 75 busy or too late, 77 key or \
            permission, 78 wrong configuration, 130 interrupted.
            """,
        version: starlingVersion,
        groupedSubcommands: [
            CommandGroup(
                name: "Running a node:",
                subcommands: [
                    InitCommand.self, CheckCommand.self, NodeCommand.self, StatusCommand.self,
                    PauseCommand.self, ResumeCommand.self, PriceCommand.self, LedgerCommand.self,
                    SettleCommand.self, BackupCommand.self, RestoreCommand.self,
                ]),
            CommandGroup(
                name: "Using the mesh:",
                subcommands: [
                    AskCommand.self, WhyCommand.self, QuoteCommand.self, PeersCommand.self,
                    OffersCommand.self, UsageCommand.self,
                ]),
            CommandGroup(
                name: "Trying and breaking it:", subcommands: [TestnetCommand.self, SimCommand.self]),
        ])
}
