"""Any flow as a web application: run it over HTTP, and see, answer and replay its runs in a browser.

`python -m pocketflow serve article.py:flow --journal runs.db` serves flows on this machine. In a FastAPI
or Starlette service of your own:

    studio = serve.app({"article": flow}, "runs.db", token=os.environ["POCKETFLOW_TOKEN"])
    service = FastAPI(lifespan=studio.router.lifespan_context)
    service.mount("/flows", studio)

`Runs` is what stands behind it, for an interface of your own. It needs Starlette: pip install starlette uvicorn
"""

from __future__ import annotations

from pocketflow.serve.api import app
from pocketflow.serve.problems import Busy, Conflict, NotFound, Problem
from pocketflow.serve.runs import Runs

__all__ = ["Busy", "Conflict", "NotFound", "Problem", "Runs", "app"]
