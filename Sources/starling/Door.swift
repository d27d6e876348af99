import ArgumentParser
import FoundationEssentials
import Glibc
import MeshClient
import MeshDocuments
import NodeConfiguration
import Primitives
import Testnet

/// Which node a command talks to, and whether it prints text or JSON.
struct DoorOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The node to talk to: an address (http://127.0.0.1:7828), or the name of a testnet's node. Default: STARLING_VIA, else your own node.",
            valueName: "NODE"))
    var via: String?

    @Option(
        help: ArgumentHelp(
            "API key, for a node that requires one. Default: STARLING_API_KEY; for your own node the first in its file.",
            valueName: "KEY"))
    var apiKey: String?

    @Flag(help: "Print one JSON document instead of text.")
    var json = false

    /// A client for the chosen node.
    func client() throws -> MeshClient {
        let environment = ProcessInfo.processInfo.environment
        let key = apiKey ?? environment["STARLING_API_KEY"]
        if let via = via ?? environment["STARLING_VIA"] {
            return MeshClient(base: try base(via), apiKey: key)
        }
        let path = NodeCommand.defaultConfigPath
        guard let data = FileManager.default.contents(atPath: path) else {
            return MeshClient(base: "http://127.0.0.1:7828", apiKey: key)
        }
        let http = try NodeSettings(
            parsing: YAMLReader.text(of: data, file: path), source: .init(file: path), home: homeFolder
        ).http
        let listen = http.listen.isUnicast ? http.listen : .loopback(http.listen.port)
        return MeshClient(base: "http://\(listen)", apiKey: key ?? http.apiKeys.first)
    }

    private func base(_ via: String) throws -> String {
        if via.hasPrefix("http://") || via.hasPrefix("https://"), YAMLReader.isServerURL(via) {
            let trimmed = via.hasSuffix("/") ? String(via.dropLast()) : via
            return trimmed.hasSuffix("/v1") ? String(trimmed.dropLast(3)) : trimmed
        }
        if via.contains(":"), YAMLReader.isServerURL(via) { return "http://\(via)" }
        let found = LocalTestnet.running(root: TestnetCommand.root).compactMap { name in
            TestnetState.load(Layout(root: TestnetCommand.root, name: name))?.nodes.first { $0.name == via }
                .map { (testnet: name, http: $0.http) }
        }
        if found.count == 1 { return found[0].http }
        if !found.isEmpty {
            throw fail(
                "\(found.count) testnets have a node \(via)",
                fix: "give its address: "
                    + found.map { "\($0.http) (\($0.testnet))" }.joined(separator: ", "),
                .usage)
        }
        if via.contains(":") {
            throw fail("\(via) is not an address", fix: "give http://host:port, or host:port", .usage)
        }
        throw fail(
            "no testnet node is called \(via)",
            fix: "give an address (http://127.0.0.1:7828), or see `starling testnet status`", .unavailable)
    }

    /// Fetches the document at `path`. Under `--json` it is printed as received and nil is returned;
    /// otherwise it is decoded. Throws the exit code when the node refuses.
    func document<Document: Decodable>(_ path: String, as type: Document.Type) throws -> Document? {
        let response = try client().get(path)
        guard response.status == 200 else { throw refused(response) }
        return try read(response, as: type)
    }

    /// The same for an answer that is there.
    func read<Document: Decodable>(_ response: MeshClient.Response, as type: Document.Type) throws
        -> Document?
    {
        if json {
            emit(json: String(decoding: response.body, as: UTF8.self))
            return nil
        }
        do {
            return try JSONDecoder().decode(type, from: Data(response.body))
        } catch {
            throw fail(
                "\(try client().base) answered with something else: \(Printable.line("\(error)"))",
                fix: "check that it is a Starling node of this version", .failed)
        }
    }

    /// Prints an error answer, in the terms of the command's options, and returns the exit code for it.
    /// `maxPrice` is what `ask` was given.
    func refused(_ response: MeshClient.Response, maxPrice: String? = nil) -> ExitCode {
        if json {
            emit(json: String(decoding: response.body, as: UTF8.self))
        }
        let body = (try? JSONDecoder().decode(ErrorDocument.self, from: Data(response.body)))?.error
        let message = body?.message ?? "the node answered \(response.status)"
        let status: ExitStatus
        switch response.status {
        case 401, 402, 403: status = .permission
        case 404 where body?.code == "model_not_found": status = .unavailable
        case 504, 429: status = .tryAgain
        case 502: status = .brokenOff
        case 503: status = response.headers["x-should-retry"] == "true" ? .tryAgain : .unavailable
        case 400: status = .usage
        default: status = .failed
        }
        if !json {
            let words = Self.options.reduce(message) { $0.replacing($1.path, with: $1.words) }
            remark("starling: \(Printable.line(words))")
            if let usage = body?.metadata?.usage {
                remark("  cost: \(counted(usage.completionTokens, "token")), \(usage.cost) µcr")
            }
            if response.status == 401 {
                remark("  fix: give one of its keys: --api-key KEY, or set STARLING_API_KEY")
            }
            if let fix = body?.metadata?.nearest.flatMap({ Self.flag($0, maxPrice) }) {
                remark("  fix: \(fix)")
            }
        }
        return ExitCode(status.rawValue)
    }

    /// The options of `ask` for the API's preferences.
    private static let options = [
        (path: "provider.max_price.prompt", words: "the input part of --max-price"),
        (path: "provider.max_price.completion", words: "--max-price"),
        (path: "provider.max_cost", words: "--max-cost"), (path: "provider.only", words: "--only"),
        (path: "the request's provider preferences allow", words: "--only allows"),
        (path: "the request's provider preferences exclude", words: "--only excludes"),
    ]

    /// The option of `ask` with the smallest change that would have got a bid.
    private static func flag(_ nearest: ErrorDocument.Explanation.Nearest, _ maxPrice: String?) -> String? {
        guard let change = nearest.change.first else { return nil }
        let value = MicroCredits.text(Int64((min(max(change.value, 0), 1e9) * 1e6).rounded(.up)))
        switch change.key {
        case "provider.max_price.completion":
            let input = maxPrice.flatMap { $0.contains("/") ? $0.prefix { $0 != "/" } + "/" : nil } ?? ""
            return "--max-price \(input)\(value)"
        case "provider.max_price.prompt":
            return "--max-price \(value)/\(maxPrice?.split(separator: "/").last ?? "OUTPUT")"
        case "provider.max_cost": return "--max-cost \(value)"
        default: return nil
        }
    }
}

/// Rows, with aligned columns on a terminal and tabs in a pipe.
struct Table {
    private var rows: [[String]]
    private let rightAligned: Set<Int>

    init(_ header: [String], rightAligned: Set<Int> = []) {
        rows = [header]
        self.rightAligned = rightAligned
    }

    mutating func add(_ row: [String]) {
        rows.append(row.map { Printable.line($0) })
    }

    /// For stdout; `aligned` forces aligned columns.
    func text(aligned: Bool = isatty(1) == 1) -> String {
        guard aligned else { return rows.map { $0.joined(separator: "\t") }.joined(separator: "\n") + "\n" }
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let line = row.enumerated().map { column, cell in
                let pad = String(repeating: " ", count: widths[column] - cell.count)
                return rightAligned.contains(column) ? pad + cell : cell + pad
            }.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n") + "\n"
    }
}
