import math, random, sys, time
from pathlib import Path
import optuna
from optuna.samplers import *
from thaw.report.sweep_figures import *
from thaw.report.sweep_page import write_sweep_page
optuna.logging.set_verbosity(optuna.logging.WARNING)
OUT = Path("/tmp/w/me/sweep")
def rng(d):
    if isinstance(d, optuna.distributions.CategoricalDistribution): return ParamRange(choices=tuple(d.choices))
    return ParamRange(d.low, d.high, d.log)
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
def figures(study, name, objectives, sampler, pruner, lanes=2, **kw):
    jobs, dist, t0, free = [], {}, 1_780_000_000.0, [1_780_000_000.0]*lanes
    front = {t.number for t in study.best_trials} if len(objectives) > 1 else set()
    for t in study.trials:
        for k, d in t.distributions.items(): dist[k] = rng(d)
        secs = 3.0 * max(1, len(t.intermediate_values)) + t.number % 5
        reused = t.number in (3, 8)
        state = STATES[t.state.name]
        i = free.index(min(free)); start = free[i]
        if not reused: free[i] = start + secs
        vals = tuple(t.values or ()) if state == "finished" else ()
        jobs.append(SweepJob(t.number, state, t.params, vals, t.intermediate_values,
            run_id=__import__("hashlib").md5(f"{name}{t.number}".encode()).hexdigest(), name=f"{name}-{t.number}", seconds=secs, reused=reused and state=="finished",
            attempts=2 if t.number == 5 else 1, reason=t.user_attrs.get("reason", "" if state != "pruned" else "pruned at epoch 3"),
            started=None if reused else start, ended=None if reused else start+secs,
            metrics={"val/accuracy": vals[0], "test/accuracy": vals[0]-0.01} if vals else {},
            cached_images=2400 if t.number else 0, computed_images=0 if t.number else 2400, folder=str(t.number), on_front=t.number in front))
    try: imp = optuna.importance.get_param_importances(study, target=(lambda t: t.values[0]) if len(objectives)>1 else None)
    except Exception as e: print(e); imp = {}
    return SweepFigures(name, "4f2c9b1e", f"python train.py -m +sweep={name} optimizer.head_learning_rate='tag(log, interval(1e-5, 1e-1))'", sampler, pruner,
        objectives, len(study.trials), tuple(jobs), dist, imp, max(free)-t0, {"cache": 311.0, "reuse": 55.0, "pruning": 402.0} | kw)
def tpe(n=60):
    s = optuna.create_study(direction="maximize", sampler=TPESampler(seed=1), pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=12, reduction_factor=3))
    def f(t):
        lr = t.suggest_float("optimizer.head_learning_rate", 1e-5, 1e-1, log=True)
        wd = t.suggest_float("optimizer.weight_decay", 0, 0.1)
        drop = t.suggest_float("head.dropout", 0.0, 0.6)
        fr = t.suggest_categorical("finetune.freeze", ["all", "block5a", "block6a", "block7a", "none"])
        op = t.suggest_categorical("optimizer", ["adamw", "sgd", "lion"])
        units = t.suggest_int("head.units", 64, 1024, log=True)
        mix = t.suggest_categorical("augment.mixup", [True, False])
        sm = t.suggest_float("label_smoothing", 0, 0.2)
        if t.number % 23 == 11:
            t.set_user_attr("reason", "ResourceExhaustedError: out of memory when allocating a tensor of shape (64, 112, 112, 32)\n  in stage thaw, epoch 1"); raise ValueError
        r = random.Random(t.number)
        top = 0.93 - 0.02*(math.log10(lr)+2.7)**2 - 0.1*(drop-.25)**2 - {"all":.04,"block5a":.005,"block6a":0,"block7a":.01,"none":.06}[fr] - 0.01*(op=="sgd") + 0.004*r.gauss(0,1)
        for e in range(1, 13):
            v = top*(1-math.exp(-e/2.5)) + r.gauss(0,.006)
            t.report(v, e)
            if t.should_prune(): raise optuna.TrialPruned
        return v
    s.optimize(f, n_trials=n, catch=(ValueError,))
    return figures(s, "clothing-tpe", (("val/accuracy","maximize"),), "TPE, 10 random jobs first, seed 1", "Hyperband: from epoch 1 to 12, a third goes on")
def two(n=60):
    s = optuna.create_study(directions=["maximize","minimize"], sampler=NSGAIISampler(seed=1, population_size=12))
    def f(t):
        size = t.suggest_int("dataset.image_size", 64, 320, step=32)
        b = t.suggest_categorical("backbone", ["mobilenetv3_small", "efficientnet_lite0", "efficientnet_lite4", "resnet50"])
        lr = t.suggest_float("lr", 1e-4, 1e-1, log=True)
        c = {"mobilenetv3_small":1,"efficientnet_lite0":3,"efficientnet_lite4":9,"resnet50":12}[b]
        return 0.97-.3/math.sqrt(size/8)-.12/(1+c)-.01*(math.log10(lr)+2)**2+random.Random(t.number).gauss(0,.005), c*(size/224)**2*2.1
    s.optimize(f, n_trials=n)
    return figures(s, "accuracy-and-latency", (("val/accuracy","maximize"),("latency_ms","minimize")), "NSGA-II", "none")
def grid():
    space = {"lr": [1e-4, 1e-3, 1e-2], "recipe": ["bottleneck", "finetune"], "seed": [0, 1, 2]}
    s = optuna.create_study(direction="minimize", sampler=GridSampler(space))
    def f(t):
        lr = t.suggest_categorical("lr", space["lr"]); r = t.suggest_categorical("recipe", space["recipe"]); sd = t.suggest_categorical("seed", space["seed"])
        v = .5+.2*abs(math.log10(lr)+3)-.1*(r=="finetune")+random.Random(t.number).gauss(0,.02)
        return v
    s.optimize(f)
    return figures(s, "digits-grid", (("val/loss","minimize"),), "grid", "none", lanes=1)
if __name__ == "__main__":
    for name, sweep in (("tpe", tpe()), ("two", two()), ("grid", grid())):
        for i in (0,1,2):
            (OUT/name/str(i)/"report").mkdir(parents=True, exist_ok=True); (OUT/name/str(i)/"report"/"report.html").write_text("x")
        p = write_sweep_page(OUT/name, sweep); print(p, p.stat().st_size)
