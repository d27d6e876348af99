"""Time from `starling testnet up` until every node knows every offer: 8 and 32 processes (--full: 64 too).

Scripted model servers, so that loading a model isn't measured. Each run starts new processes with new databases. The
figure is the wall time of the command, which polls all nodes every 50 ms. Of eight nodes five sell, as in
testnet/market.yaml; of more nodes, half sell.
"""
import harness


def nodes(count, url):
    sellers = 5 if count == 8 else count // 2
    sale = {"serves": "bench", "url": url, "price": {"input": 0.2, "output": 2.0}, "slots": 4}
    return {f"n{index}": sale if index < sellers else {} for index in range(count)}


def run(bench):
    sizes = [(8, 5), (32, 3)] + ([(64, 3)] if bench.full else [])
    with bench.backend() as backend:
        for count, runs in sizes:
            totals, ups = [], []
            for _ in range(runs):
                with bench.testnet(nodes(count, backend["url"]), mesh=f"testnet-bench{count}", timeout=180) as testnet:
                    totals.append(testnet.seconds)
                    ups.append(testnet.milestones.get("up"))
                bench.builds = False
            harness.remark(f"{count} nodes: " + ", ".join(f"{total:.2f}" for total in totals) + " s")
            ups = [up for up in ups if up is not None]
            bench.figure(f"nodes{count}_all_answer", harness.median(ups), "s")
            bench.figure(f"nodes{count}_all_offers_known", harness.median(totals), "s")
            bench.figure(f"nodes{count}_all_offers_known_max", max(totals), "s")
