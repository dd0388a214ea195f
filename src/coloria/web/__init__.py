"""The web site: ``coloria serve``.

Data flows one way: routes (:mod:`~coloria.web.api`, :mod:`~coloria.web.downloads`,
:mod:`~coloria.web.pages`) ask the desk (:mod:`~coloria.web.desk`), which gives work to processes
(:mod:`~coloria.web.workers`) that write into the store (:mod:`~coloria.web.store`). Only those
processes load a framework and decode pixels.
"""
