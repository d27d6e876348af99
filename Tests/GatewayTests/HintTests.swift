import Foundation
import NodeConfiguration
import Testing

@testable import Gateway
@testable import OpenAIFormat

/// What a message or a page tells its reader to use exists.
@Suite struct Hints {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    private static func files(_ folder: String, _ ending: String) -> [String] {
        let base = root.appending(path: folder).path
        return (FileManager.default.enumerator(atPath: base)?.compactMap { $0 as? String } ?? [])
            .filter { $0.hasSuffix(ending) }.map { base + "/" + $0 }
    }

    /// Every literal of the sources, without its interpolations, and everything in backquotes of the pages.
    private static let said: [String] = {
        var found: [String] = []
        // A testnet's file has keys of its own, and the benchmarks' model server paths.
        for file in files("Sources", ".swift")
        where !file.contains("/Testnet/") && !file.contains("/Benchmarks/") {
            let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
            for match in text.matches(of: /"""([\s\S]*?)"""|"((?:[^"\\\n]|\\.)*)"/) {
                found.append(String(match.1 ?? match.2 ?? "").replacing(/\\\([^)]*\)/, with: ""))
            }
        }
        for file in files("Protocol", ".md") + ["README.md", "CONTRIBUTING.md"].map({ root.path + "/" + $0 })
        {
            let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
            found += text.matches(of: /`([^`\n]+)`/).map { "`\($0.1)`" }
        }
        return found
    }()

    private static func said(_ pattern: Regex<(Substring, Substring)>) -> Set<String> {
        Set(said.flatMap { text in text.matches(of: pattern).map { String($0.1) } })
    }

    private func problem(flags: [String: String] = [:], environment: [String: String] = [:]) -> String? {
        do {
            _ = try NodeSettings(
                parsing: "serve: [{backend: vllm, model: a}]\n",
                source: .init(file: "node.yaml", flags: flags, environment: environment), home: "/")
            return nil
        } catch { return error.problem }
    }

    @Test func everyKeyOfTheConfigurationThatIsNamedCanBeSet() throws {
        let keys = Self.said(
            /(?:^|[^\w.\/@-])((?:mesh|http|serve\[\d\]|sell|ask|log)\.[a-z_]+(?:\.[a-z_]+)*)/)
        #expect(keys.isSuperset(of: ["mesh.public", "http.hosts", "http.origins", "ask.max_price"]))
        for key in keys where !key.hasSuffix(".md") {
            #expect(problem(flags: [key: "1"])?.hasPrefix("unknown key") != true, "\(key) is no key")
        }
        for variable in Self.said(/\b(STARLING_[A-Z_]*[A-Z])\b/) {
            #expect(problem(environment: [variable: "1"])?.hasPrefix("no key") != true, "\(variable)")
        }
    }

    @Test func everyCommandThatIsNamedExists() throws {
        let sources = Self.files("Sources/starling", ".swift").map {
            (try? String(contentsOfFile: $0, encoding: .utf8)) ?? ""
        }.joined()
        let names = sources.matches(of: /commandName: "([a-z-]+)"/).map { String($0.1) }
        let types = sources.matches(of: /struct (\w+): (?:Async)?ParsableCommand/).map { $0.1.lowercased() }
        let commands = Set(names + types)
        let named = Self.said(/`starling ((?:testnet )?[a-z][a-z-]+)/)
        #expect(named.isSuperset(of: ["init", "status", "testnet status"]))
        for name in named {
            for word in name.split(separator: " ") {
                #expect(commands.contains(String(word)), "starling \(name)")
            }
        }
    }

    @Test func everyPathThatIsNamedIsServed() throws {
        let paths = Self.said(/(?:GET|POST) (\/[A-Za-z0-9\/]+)/)
        #expect(paths.isSuperset(of: ["/mesh/peers", "/v1/models"]))
        for path in paths { #expect(Route(path: path) != nil, "\(path)") }
    }

    @Test func everyPreferenceThatIsNamedIsRead() throws {
        let names = Self.said(/(?:^|[^\w.])provider\.([a-z_]+)/)
        #expect(names.isSuperset(of: ["only", "max_price", "min_trust"]))
        for name in names { #expect(ProviderPreferences.keys.contains(name), "provider.\(name)") }
    }
}
