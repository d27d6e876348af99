import Primitives

extension Report {
    /// A few lines for people: figures, then `expectations` of the scenario, then whether all invariants held.
    public func text(expectations: [String] = [], replay: String) -> String {
        func seconds(_ interval: Interval) -> String {
            Self.number(interval.nanoseconds, unit: 1_000_000_000, decimals: 2) + " s"
        }
        func milliseconds(_ distribution: Distribution) -> String {
            guard distribution.count > 0 else { return "none" }
            let p50 = Self.number(distribution.percentile(50), unit: 1_000_000, decimals: 1)
            let p99 = Self.number(distribution.percentile(99), unit: 1_000_000, decimals: 1)
            let most = Self.number(distribution.largest, unit: 1_000_000, decimals: 1)
            return "p50 \(p50) ms, p99 \(p99) ms, max \(most) ms"
        }
        var lines = [
            "\(scenario), seed \(seed): \(counted(nodes, "node")) on the \(carrierKind.rawValue) carrier, \(seconds(virtualTime)) of virtual time, \(events) events"
        ]
        lines.append(
            "  convergence              "
                + (convergence.map { "\(seconds($0)) from the last start until every node knew every offer" }
                    ?? "never"))
        if let slowest = leaves.max() {
            lines.append(
                "  leave                    "
                    + (slowest.nanoseconds == .max
                        ? "not in time" : "max \(seconds(slowest)) until no node listed the leaver's offers"))
        }
        if let slowest = returns.max() {
            lines.append("  restarts known           after \(seconds(slowest)) at most")
        }
        if tasks > 0 {
            lines.append(
                "  tasks                    \(tasks): "
                    + outcomes.map { "\($0.count) \(Self.words($0.name))" }.joined(
                        separator: ", "))
            lines.append("  award                    " + milliseconds(auctions) + ", from the submission")
            lines.append("  first byte               " + milliseconds(firstBytes))
            lines.append("  completion               " + milliseconds(market.completions))
            lines.append("  failovers                \(failovers); gap \(milliseconds(failoverGaps))")
            lines += market.lines
        }
        for (name, result) in [("lookups ", lookups), ("searches", searches)] where result.count > 0 {
            lines.append(
                "  \(name)                 \(result.succeeded) of \(result.count) found what they should; "
                    + milliseconds(result.times))
        }
        lines.append(
            "  datagrams                \(carrier.datagrams) sent, \(carrier.lost) lost, \(carrier.duplicated) duplicated; "
                + "not delivered: \(carrier.cutOff) by a partition, \(carrier.unheard) without a running receiver, "
                + "\(carrier.socketFull) by a full receive buffer"
                + (carrier.filtered > 0 ? ", \(carrier.filtered) by NATs" : "")
                + (carrier.hostile > 0 ? "; \(carrier.hostile) hostile ones not counted" : ""))
        lines.append("  channels                 \(carrier.streams), \(carrier.streamBytes / 1_000) kB")
        lines.append(
            "  sent per node            mean \(sentPerNode.mean) B/s, max \(sentPerNode.largest) B/s")
        lines.append(
            "  upkeep per node          \(Self.decimal(upkeep.perNode(upkeep.bytes, nodes: nodes))) B/s, "
                + "\(Self.decimal(upkeep.perNode(upkeep.datagrams, nodes: nodes))) packets/s, while nothing was asked or broken"
        )
        if !dropped.isEmpty {
            lines.append(
                "  dropped by receivers     "
                    + dropped.map { "\($0.count) \($0.name)" }.joined(separator: ", "))
        }
        lines += Self.histogram("first byte", firstBytes, unit: 1_000_000, "ms")
        lines += Self.histogram("sent per node", sentPerNode, unit: 1, "B/s")
        lines.append("  trace digest             \(digest)")
        lines += expectations
        if holds {
            lines.append("all invariants held")
        } else {
            lines.append("BROKEN: \(counted(violations.count, "violation")) of invariants")
            lines += violations.prefix(10).map { "  \($0)" }
            lines.append("repeat it:  \(replay)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// `refused (no_bid)` for an outcome's name `refused:no_bid`.
    public static func words(_ outcome: String) -> String {
        guard let colon = outcome.firstIndex(of: ":") else { return outcome }
        return "\(outcome[..<colon]) (\(outcome[outcome.index(after: colon)...]))"
    }

    /// One JSON object. `more` has additional members, already encoded.
    public func json(replay: String, more: [(String, String)] = []) -> String {
        func string(_ text: String) -> String {
            var out = "\""
            for scalar in text.unicodeScalars {
                switch scalar {
                case "\"": out += "\\\""
                case "\\": out += "\\\\"
                case "\n": out += "\\n"
                case _ where scalar.value < 32: out += " "
                default: out.unicodeScalars.append(scalar)
                }
            }
            return out + "\""
        }
        func object(_ members: [(String, String)]) -> String {
            "{" + members.map { "\(string($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
        }
        func milliseconds(_ d: Distribution) -> String {
            func number(_ value: Int64) -> String { Self.number(value, unit: 1_000_000, decimals: 3) }
            return object([
                ("count", "\(d.count)"), ("mean_ms", number(d.mean)), ("p50_ms", number(d.percentile(50))),
                ("p95_ms", number(d.percentile(95))), ("p99_ms", number(d.percentile(99))),
                ("max_ms", number(d.largest)),
            ])
        }
        func milliseconds(_ interval: Interval?) -> String {
            interval.map { $0.nanoseconds == .max ? "null" : "\($0.milliseconds)" } ?? "null"
        }
        let members: [(String, String)] = [
            ("scenario", string(scenario)), ("seed", "\(seed)"), ("nodes", "\(nodes)"),
            ("carrier_kind", string(carrierKind.rawValue)), ("holds", "\(holds)"),
            ("digest", string(digest)), ("virtual_ms", "\(virtualTime.milliseconds)"),
            ("events", "\(events)"),
            ("convergence_ms", milliseconds(convergence)), ("leaves_known_ms", milliseconds(leaves.max())),
            ("tasks", "\(tasks)"), ("outcomes", object(outcomes.map { ($0.name, "\($0.count)") })),
            ("award", milliseconds(auctions)), ("first_byte", milliseconds(firstBytes)),
            ("completion", milliseconds(market.completions)), ("market", market.json),
            ("failovers", "\(failovers)"),
            ("failover_gap", milliseconds(failoverGaps)),
            (
                "carrier",
                object([
                    ("datagrams", "\(carrier.datagrams)"), ("datagram_bytes", "\(carrier.datagramBytes)"),
                    ("lost", "\(carrier.lost)"), ("duplicated", "\(carrier.duplicated)"),
                    ("cut_off", "\(carrier.cutOff)"),
                    ("unheard", "\(carrier.unheard)"), ("socket_full", "\(carrier.socketFull)"),
                    ("filtered", "\(carrier.filtered)"), ("hostile", "\(carrier.hostile)"),
                    ("channels", "\(carrier.streams)"), ("channel_bytes", "\(carrier.streamBytes)"),
                ])
            ),
            (
                "sent_bytes_per_s",
                object([("mean", "\(sentPerNode.mean)"), ("max", "\(sentPerNode.largest)")])
            ),
            ("measures", object(measures.map { ($0.name, Self.decimal($0.value)) })),
            ("curves", curves.json), ("dropped", object(dropped.map { ($0.name, "\($0.count)") })),
            ("violations", "[" + violations.map { string("\($0)") }.joined(separator: ", ") + "]"),
            ("replay", string(replay)),
        ]
        return object(members + more) + "\n"
    }
}
