import sys, base64, json
from pathlib import Path
sys.path.insert(0, "/tmp/w/sweeppage")
from tests.report.browser import browser
from tests.report.test_page_in_browser import DRAWN, SEEN
OUT = Path("/tmp/w/me/sweep")
names = sys.argv[1:]
with browser(OUT/"profile") as tab:
    for spec in names:
        name, width, dark = (spec.split(":")+["1280","0"])[:3]
        width, dark = int(width), dark=="1"
        tab.open(OUT/name/"sweep.html", width, dark); tab.wait_for(DRAWN)
        s=json.loads(tab.run(SEEN)); print(name, width, s["charts"], s["drawn"], s["wide"], s["overflowing"], s["clipped"], [json.loads(c)["args"][1:2] if "args" in c and c.endswith("}") else c for c in tab.console])
        h = tab.run("document.documentElement.scrollHeight")
        y = 0; i = 0
        while y < h:
            hh = min(1500, h-y)
            d = tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip={"x":0,"y":y,"width":width,"height":hh,"scale":1})
            (OUT/f"{name}-{width}-{i}.png").write_bytes(base64.b64decode(d["data"])); y += hh; i += 1
        print(i)
