import Foundation
import Testing

/// Nodes that leave, announced or not.
extension ProcessTests {
    @Suite(.serialized) struct Departure {
        static let mesh = Failover.sellers + "\ngus: {}"

        @Test func aKilledNodeCostsEachAskerAtMostOneUnansweredCallAndNoTask() async throws {
            try await TestMesh.with(Self.mesh) { mesh in
                let askers = try await ["fay", "gus"].asyncMap { try await mesh.node($0) }
                for asker in askers {
                    #expect(try await mesh.chat("What is 3 + 4?", model: "wren-m", at: asker).status == 200)
                }
                let dead = try await mesh.node("ada")
                try await mesh.testnet("kill", "ada")
                for asker in askers {
                    var unanswered = 0
                    for number in 1...8 {
                        let answer = try await mesh.chat("What is \(number) + 4?", model: "wren-m", at: asker)
                        #expect(answer.status == 200, "\(answer.body)")
                        let transcript = try await mesh.transcript(
                            answer.headers["x-request-id"] ?? "", at: asker)
                        if transcript["bids"].list.contains(where: { $0["node_id"].text == dead.id }) {
                            unanswered += 1
                        }
                    }
                    #expect(unanswered <= 1, "\(asker.name) asked the dead node \(unanswered) times")
                    #expect(try await mesh.get("/mesh/status", at: asker).json["tasks"]["failed"].int == 0)
                }
            }
        }

        private func sequence(of seller: TestMesh.Node, at node: TestMesh.Node, in mesh: TestMesh)
            async throws
            -> Int?
        {
            try await mesh.get("/mesh/offers", at: node).json["offers"].list.first {
                $0["node_id"].text == seller.id
            }?["sequence"].int
        }

        /// All three, which the others join by: killed and stopped in turn, four times in a row.
        @Test func sellersThatAreRestartedAgainAndAgainAreInEveryBookInTheirNewestVersion() async throws {
            try await TestMesh.with(Self.mesh) { mesh in
                let names = ["ada", "bob", "cyd"]
                let askers = try await ["fay", "gus"].asyncMap { try await mesh.node($0) }
                for round in 1...4 {
                    for name in names {
                        if round % 2 == 1 { try await mesh.testnet("kill", name) }
                        try await mesh.testnet("restart", name)
                    }
                    var slowest = 0.0
                    for seller in try await names.asyncMap({ try await mesh.node($0) }) {
                        let newest = try await eventually("\(seller.name) offers", within: 20) {
                            try await sequence(of: seller, at: seller, in: mesh)
                        }
                        for asker in askers {
                            slowest += try await until("\(asker.name) knows \(seller.name)'s offer") {
                                try await sequence(of: seller, at: asker, in: mesh) ?? 0 >= newest
                            }
                        }
                    }
                    measured("restart \(round): offers known at every asker", slowest)
                }
                let answer = try await mesh.chat("What is 3 + 4?", model: "wren-m", at: askers[0])
                #expect(answer.status == 200, "\(answer.body)")
            }
        }

        @Test func aStoppedNodeFinishesWhatItIsDoingAndIsGoneFromEveryBook() async throws {
            try await TestMesh.with(Self.mesh) { mesh in
                let fay = try await mesh.node("fay")
                let short = Failover.question.replacing("150", with: "60")
                let stream = try OpenAIPackage.stream(short, at: fay, in: mesh.folder)
                let id = try await stream.worker()
                let leaver = try #require(try await mesh.nodes().first { $0.id == id })
                try await stream.waitForChunks(5)
                let stopped = try mesh.start(["testnet", "stop", leaver.name])
                let others = try await mesh.nodes().filter { $0.id != id }
                var slowest = 0.0
                for node in others {
                    slowest += try await until("\(node.name) forgets its offer", within: 3) {
                        try await mesh.get("/mesh/offers", at: node).json["offers"].list.allSatisfy {
                            $0["node_id"].text != id
                        }
                    }
                }
                measured("SIGTERM until gone from all \(others.count) books", slowest)
                let outcome = try await stream.outcome()
                #expect(outcome["usages"][0]["completion_tokens"].int == 60, "\(outcome)")
                let transcript = try await mesh.transcript(outcome["request_id"].text ?? "", at: fay)
                #expect(
                    transcript["failovers"].int == 0 && transcript["assignments"].list.count == 1,
                    "finished by the leaver: \(transcript["assignments"])")
                #expect(try await stopped.finished().status == 0)
                #expect(try await mesh.node(leaver.name).state == "left")
            }
        }

        @Test func aNodeThatMayNotFinishInTimeHandsItsAnswerOver() async throws {
            try await TestMesh.with(Self.mesh) { mesh in
                let fay = try await mesh.node("fay")
                let whole = try await mesh.post(
                    "/v1/chat/completions",
                    Failover.question.replacing(#", "stream_options": {"include_usage": true}"#, with: ""),
                    at: fay)
                // A seller without patience, and cheaper than the others.
                let config = try #require(try await mesh.node("ada").all["config"].text)
                try await mesh.testnet("stop", "ada")
                let hasty = try mesh.start(["node", "--config", config, "--grace", "0.2"])
                defer { hasty.stop() }
                try await until("it sells", within: 20) {
                    try await mesh.get("/mesh/offers", at: fay).json["offers"].list.contains {
                        $0["name"].text == "ada"
                    }
                }
                let only =
                    Failover.question.dropLast() + #", "extra_body": {"provider": {"order": ["ada"]}}}"#
                let stream = try await eventually("it wins an auction") { () async throws -> OpenAIPackage? in
                    let stream = try OpenAIPackage.stream(String(only), at: fay, in: mesh.folder)
                    if try await stream.worker() == mesh.node("ada").id { return stream }
                    stream.process.stop()
                    return nil
                }
                try await stream.waitForChunks(10)
                hasty.send(SIGTERM)
                let outcome = try await stream.outcome()
                #expect(
                    outcome["text"].text == whole.json["choices"][0]["message"]["content"].text, "\(outcome)")
                let transcript = try await mesh.transcript(outcome["request_id"].text ?? "", at: fay)
                #expect(
                    transcript["assignments"][0]["ended"].text == "left"
                        && transcript["assignments"].list.count == 2,
                    "\(transcript["assignments"])")
                #expect(try await hasty.finished().status == 0)
            }
        }

        @Test func anAskerThatIsStoppedLetsItsClientsAnswersEnd() async throws {
            try await TestMesh.with(Self.mesh) { mesh in
                let gus = try await mesh.node("gus")
                let stream = try OpenAIPackage.stream(
                    Failover.question.replacing("150", with: "60"), at: gus, in: mesh.folder)
                try await stream.waitForChunks(5)
                let stopped = try mesh.start(["testnet", "stop", "gus"])
                let outcome = try await stream.outcome()
                #expect(outcome["usages"][0]["completion_tokens"].int == 60, "\(outcome)")
                #expect(try await stopped.finished().status == 0)
                #expect(try await mesh.node("gus").state == "left")
            }
        }
    }
}
